/* A PKCS#11 module of one slot, one token and one RSA key, for tests. It works,
 * and lies where the card says so (lies.h). */
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "lies.h"
#include "objects.h"

#define SLOT 7
#define MAX_SESSIONS 16

static struct { int open, writes; } sessions[MAX_SESSIONS];
static int who = NOBODY; /* is logged in, in all sessions */
static int signing, proved; /* a signature was begun; its PIN was given */

static void text(byte *to, ulong size, const char *from) {
	memset(to, ' ', size);
	memcpy(to, from, strlen(from) < size ? strlen(from) : size);
}

int is_open(ulong s) { return s > 0 && s < MAX_SESSIONS && sessions[s].open; }

int is_user(void) { return who == USER; }

static rv initialize(void *args) {
	(void)args;
	lie_note_process();
	BEGIN("C_Initialize");
	return OK;
}

static rv finalize(void *args) {
	(void)args;
	BEGIN("C_Finalize");
	return OK;
}

static rv get_info(info *i) {
	BEGIN("C_GetInfo");
	memset(i, 0, sizeof *i);
	i->cryptoki = (version){2, 40};
	text(i->manufacturer, sizeof i->manufacturer, "Inkan tests");
	text(i->description, sizeof i->description, "a module that lies");
	i->library = (version){1, 0};
	return OK;
}

/* give_list gives a list as section 5.2 wants it. */
static rv give_list(const char *call, const ulong *from, ulong n, ulong *list, ulong *count) {
	long lie;
	if (lies("length", call, &lie)) {
		*count = (ulong)lie;
		return OK;
	}
	if (list && *count < n)
		return BUFFER_TOO_SMALL;
	*count = n;
	if (list)
		memcpy(list, from, n * sizeof *list);
	return OK;
}

static rv get_slot_list(byte present, ulong *list, ulong *count) {
	(void)present;
	BEGIN("C_GetSlotList");
	static const ulong all[] = {SLOT};
	return give_list("C_GetSlotList", all, 1, list, count);
}

static rv get_slot_info(ulong slot, slot_info *i) {
	rv gone = lie_at("C_GetSlotInfo");
	if (gone != OK && gone != TOKEN_NOT_PRESENT)
		return gone;
	if (slot != SLOT)
		return SLOT_ID_INVALID;
	memset(i, 0, sizeof *i);
	text(i->description, sizeof i->description, getenv("LYING_SLOT") ? getenv("LYING_SLOT") : "lying slot");
	text(i->manufacturer, sizeof i->manufacturer, "Inkan tests");
	i->flags = gone == OK ? TOKEN_PRESENT : 0;
	return OK;
}

static ulong flags_of(int of) {
	int left = card_tries(of);
	ulong flags = 0;
	if (left < LIMIT)
		flags |= PIN_COUNT_LOW;
	if (left == 1)
		flags |= PIN_FINAL_TRY;
	if (left == 0)
		flags |= PIN_IS_LOCKED;
	return of == SO ? flags << SO_SHIFT : flags;
}

static rv get_token_info(ulong slot, token_info *i) {
	BEGIN("C_GetTokenInfo");
	static int calls;
	long lie;
	if (slot != SLOT)
		return SLOT_ID_INVALID;
	memset(i, 0, sizeof *i);
	text(i->label, sizeof i->label, "lying token");
	text(i->manufacturer, sizeof i->manufacturer, "Inkan tests");
	text(i->model, sizeof i->model, "liar");
	text(i->serial, sizeof i->serial, getenv("LYING_SERIAL") ? getenv("LYING_SERIAL") : "0001");
	i->flags = LOGIN_REQUIRED | USER_PIN_INITIALIZED | TOKEN_INITIALIZED | flags_of(USER) | flags_of(SO);
	if (lies("flags", "C_GetTokenInfo", &lie))
		i->flags |= (ulong)lie;
	if (lies("another-serial", "C_GetTokenInfo", NULL))
		i->serial[0] = (byte)('A' + calls++ % 26);
	if (lies("bytes", "C_GetTokenInfo", NULL))
		memset(i->serial, 0xFF, sizeof i->serial);
	i->max_pin = 32;
	i->min_pin = 4;
	if (lies("pin-lengths", "C_GetTokenInfo", NULL)) {
		i->min_pin = ~0UL;
		i->max_pin = ~0UL - 1;
	}
	return OK;
}

static rv get_mechanism_list(ulong slot, ulong *list, ulong *count) {
	BEGIN("C_GetMechanismList");
	static const ulong all[] = {M_RSA_PKCS, M_RSA_X_509};
	if (slot != SLOT)
		return SLOT_ID_INVALID;
	return give_list("C_GetMechanismList", all, 2, list, count);
}

static rv open_session(ulong slot, ulong flags, void *application, void *notify, ulong *s) {
	(void)application;
	(void)notify;
	BEGIN("C_OpenSession");
	if (slot != SLOT)
		return SLOT_ID_INVALID;
	for (ulong i = 1; i < MAX_SESSIONS; i++)
		if (!sessions[i].open) {
			sessions[i].open = 1;
			sessions[i].writes = (flags & RW_SESSION) != 0;
			*s = i;
			return OK;
		}
	return HOST_MEMORY;
}

static void end_login(void) {
	who = NOBODY;
	signing = proved = 0;
}

static rv close_session(ulong s) {
	BEGIN("C_CloseSession");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	sessions[s].open = 0;
	for (ulong i = 1; i < MAX_SESSIONS; i++)
		if (sessions[i].open)
			return OK;
	end_login();
	return OK;
}

static rv close_all_sessions(ulong slot) {
	BEGIN("C_CloseAllSessions");
	if (slot != SLOT)
		return SLOT_ID_INVALID;
	memset(sessions, 0, sizeof sessions);
	end_login();
	return OK;
}

static rv get_session_info(ulong s, session_info *i) {
	BEGIN("C_GetSessionInfo");
	long lie;
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	memset(i, 0, sizeof *i);
	i->slot = SLOT;
	i->state = who == SO ? RW_SO : (ulong)(sessions[s].writes ? RW_PUBLIC : RO_PUBLIC) + (who == USER);
	if (lies("state", "C_GetSessionInfo", &lie))
		i->state = (ulong)lie;
	return OK;
}

static rv login(ulong s, ulong user, byte *pin, ulong length) {
	BEGIN("C_Login");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	if (user != SO && user != USER && user != CONTEXT_SPECIFIC)
		return ARGUMENTS_BAD;
	if (user == CONTEXT_SPECIFIC && !signing)
		return OPERATION_NOT_INITIALIZED;
	if (user != CONTEXT_SPECIFIC && who != NOBODY)
		return who == (int)user ? USER_ALREADY_LOGGED_IN : USER_ANOTHER_ALREADY_LOGGED_IN;
	if (user == SO)
		for (ulong i = 1; i < MAX_SESSIONS; i++)
			if (sessions[i].open && !sessions[i].writes)
				return SESSION_READ_ONLY_EXISTS;
	if (!pin || length < 4 || length > 32)
		return PIN_LEN_RANGE;
	int of = user == SO ? SO : USER;
	const char *call = user == CONTEXT_SPECIFIC ? "C_Login again" : "C_Login";
	rv came = card_give(call, of, pin, length);
	if (lies("twice", "C_Login", NULL))
		came = card_give(call, of, pin, length);
	/* The lies of BEGIN, told after the card was asked. */
	rv said = lie_at("after C_Login");
	if (said != OK)
		return said;
	if (came != OK || lies("forget", "C_Login", NULL))
		return came;
	if (user == CONTEXT_SPECIFIC)
		proved = 1;
	else
		who = (int)user;
	return OK;
}

static rv logout(ulong s) {
	BEGIN("C_Logout");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	if (who == NOBODY)
		return USER_NOT_LOGGED_IN;
	end_login();
	return OK;
}

static rv set_pin(ulong s, byte *old, ulong old_length, byte *next, ulong next_length) {
	BEGIN("C_SetPIN");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	if (!sessions[s].writes)
		return SESSION_READ_ONLY;
	if (next_length < 4 || next_length > 32)
		return PIN_LEN_RANGE;
	rv came = card_give("C_SetPIN", USER, old, old_length);
	return came == OK ? card_set(next, next_length) : came;
}

static rv init_pin(ulong s, byte *next, ulong length) {
	BEGIN("C_InitPIN");
	if (!is_open(s) || who != SO)
		return USER_NOT_LOGGED_IN;
	return card_set(next, length);
}

static ulong begun; /* the mechanism */

static rv sign_init(ulong s, mechanism *m, ulong key) {
	BEGIN("C_SignInit");
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	if (m->type != M_RSA_PKCS && m->type != M_RSA_X_509)
		return MECHANISM_INVALID;
	if (key != KEY_OBJECT || !shows(key))
		return KEY_HANDLE_INVALID;
	if (who != USER && !card_has("visible"))
		return USER_NOT_LOGGED_IN;
	begun = m->type, signing = 1, proved = 0;
	return OK;
}

static rv sign(ulong s, byte *data, ulong length, byte *signature, ulong *size) {
	BEGIN("C_Sign");
	byte block[KEY_BYTES] = {0, 1};
	long lie;
	if (!is_open(s))
		return SESSION_HANDLE_INVALID;
	if (!signing)
		return OPERATION_NOT_INITIALIZED;
	if (lies("length", "C_Sign", &lie)) {
		*size = (ulong)lie;
		return OK;
	}
	if (!signature) {
		*size = KEY_BYTES;
		return OK;
	}
	if (*size < KEY_BYTES)
		return BUFFER_TOO_SMALL;
	signing = 0;
	if (who != USER || (card_has("always") && !proved))
		return USER_NOT_LOGGED_IN;
	if (begun == M_RSA_X_509 ? length > KEY_BYTES : length > KEY_BYTES - 11)
		return DATA_LEN_RANGE;
	if (begun == M_RSA_X_509)
		block[1] = 0;
	else
		memset(block + 2, 0xFF, KEY_BYTES - 3 - length); /* PKCS #1 type 1 */
	memcpy(block + KEY_BYTES - length, data, length);
	rv came = card_sign(block, signature);
	if (lies("wrong", "C_Sign", NULL))
		signature[100] ^= 1;
	*size = KEY_BYTES;
	card_note("seen", "C_Sign");
	return came;
}

static rv get_function_list(void **);

static function_list functions = {
	.v = {2, 40},
	.initialize = initialize,
	.finalize = finalize,
	.get_info = get_info,
	.get_function_list = get_function_list,
	.get_slot_list = get_slot_list,
	.get_slot_info = get_slot_info,
	.get_token_info = get_token_info,
	.get_mechanism_list = get_mechanism_list,
	.init_pin = init_pin,
	.set_pin = set_pin,
	.open_session = open_session,
	.close_session = close_session,
	.close_all_sessions = close_all_sessions,
	.get_session_info = get_session_info,
	.login = login,
	.logout = logout,
	.get_attribute_value = get_attribute_value,
	.find_objects_init = find_objects_init,
	.find_objects = find_objects,
	.find_objects_final = find_objects_final,
	.sign_init = sign_init,
	.sign = sign,
};

static rv get_function_list(void **list) {
	BEGIN("C_GetFunctionList");
	*list = &functions;
	if (lies("nothing-there", "C_GetFunctionList", NULL))
		*list = NULL;
	return OK;
}

rv C_GetFunctionList(void **list) { return get_function_list(list); }
