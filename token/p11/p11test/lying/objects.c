/* What the token shows: one certificate and its keys. */
#include "objects.h"

#include <string.h>

#include "card.h"
#include "lies.h"

static ulong find_class, find_next, find_end;
static byte find_id[64];
static long find_id_length;

/* Objects: 1 the certificate, 2 its public key, 3 its private key, which shows
 * after login, or before where the card says so. */
static ulong class_of(ulong object) {
	long every;
	if (lies("objects", "C_FindObjects", &every))
		return find_class;
	return object >= 1 && object <= 3 ? object : 0;
}

int shows(ulong object) { return object != KEY_OBJECT || is_user() || card_has("visible"); }

rv find_objects_init(ulong s, attribute *template, ulong n) {
	BEGIN("C_FindObjectsInit");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	find_class = 0, find_id_length = -1, find_next = 1, find_end = 3;
	for (ulong i = 0; i < n; i++) {
		if (template[i].type == A_CLASS)
			find_class = *(ulong *)template[i].value;
		if (template[i].type == A_ID && template[i].length <= sizeof find_id)
			memcpy(find_id, template[i].value, find_id_length = (long)template[i].length);
	}
	return OK;
}

rv find_objects(ulong s, ulong *found, ulong max, ulong *count) {
	BEGIN("C_FindObjects");
	long lie;
	byte id[64];
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	*count = 0;
	if (lies("objects", "C_FindObjects", NULL)) { /* without end */
		while (*count < max)
			found[(*count)++] = 1000 + find_next++;
		return OK;
	}
	if (lies("length", "C_FindObjects", &lie)) {
		*count = (ulong)lie;
		return OK;
	}
	for (; find_next <= find_end && *count < max; find_next++) {
		if ((find_class && class_of(find_next) != find_class) || !shows(find_next))
			continue;
		long n = card_read("id", id, sizeof id);
		if (find_id_length >= 0 && (n != find_id_length || memcmp(id, find_id, n) != 0))
			continue;
		found[(*count)++] = find_next;
	}
	return OK;
}

rv find_objects_final(ulong s) {
	BEGIN("C_FindObjectsFinal");
	return is_open(s) ? OK : SESSION_HANDLE_INVALID;
}

/* value gives the value of an attribute, -1 if the object has none. */
static long value(ulong class, ulong type, byte *to, ulong size) {
	int public = class == PUBLIC_KEY;
	switch (type) {
	case A_CLASS:
		memcpy(to, &class, sizeof class);
		return sizeof class;
	case A_ID:
		return card_read("id", to, size);
	case A_LABEL:
		memcpy(to, "lying key", 9);
		return 9;
	case A_VALUE:
		return class == CERTIFICATE ? card_read(lies("other-key", NULL, NULL) ? "other-certificate" : "certificate", to, size) : -1;
	case A_CERTIFICATE_TYPE:
	case A_KEY_TYPE:
		memset(to, 0, sizeof(ulong)); /* CKC_X_509, CKK_RSA */
		return sizeof(ulong);
	case A_MODULUS: /* what it claims, or really has */
		if (lies("other-key", "silent", NULL) && !public)
			return -1;
		return class == CERTIFICATE ? -1 : card_read(lies("other-key", NULL, NULL) ? "other-modulus" : "modulus", to, size);
	case A_PUBLIC_EXPONENT:
		memcpy(to, "\1\0\1", 3);
		return 3;
	case A_SIGN:
	case A_VERIFY:
		to[0] = 1;
		return 1;
	case A_ALWAYS_AUTHENTICATE:
		to[0] = (byte)card_has("always");
		return 1;
	}
	return -1;
}

rv get_attribute_value(ulong s, ulong object, attribute *template, ulong n) {
	BEGIN("C_GetAttributeValue");
	static byte room[64 << 10];
	long lie;
	rv all = OK;
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	for (ulong i = 0; i < n; i++) {
		long length = value(class_of(object), template[i].type, room, sizeof room);
		if (lies("objects", "C_FindObjects", &lie) && lie > 0) {
			memset(room, 'x', sizeof room);
			length = lie;
		}
		if (lies("length", "C_GetAttributeValue", &lie)) {
			template[i].length = (ulong)lie;
			continue;
		}
		if (length < 0) {
			template[i].length = UNAVAILABLE;
			all = ATTRIBUTE_TYPE_INVALID;
			continue;
		}
		if (template[i].value && template[i].length < (ulong)length)
			return BUFFER_TOO_SMALL;
		if (template[i].value)
			memcpy(template[i].value, room, length);
		template[i].length = (ulong)length;
	}
	return all;
}
