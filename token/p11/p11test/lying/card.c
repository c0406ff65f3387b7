#include "card.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *card_path(const char *name) {
	static __thread char path[4096];
	const char *dir = getenv("LYING_TOKEN");
	snprintf(path, sizeof path, "%s/%s", dir ? dir : "/nonexistent", name);
	return path;
}

long card_read(const char *name, void *to, ulong size) {
	int fd = open(card_path(name), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	long n = read(fd, to, size);
	close(fd);
	return n;
}

static int card_write(const char *name, const void *from, ulong size) {
	int fd = open(card_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	long n = write(fd, from, size);
	close(fd);
	return n == (long)size ? 0 : -1;
}

int card_has(const char *name) { return access(card_path(name), F_OK) == 0; }

void card_note(const char *file, const char *format, ...) {
	char line[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (n < 0 || n > (int)sizeof line - 2)
		return;
	line[n++] = '\n';
	int fd = open(card_path(file), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, n) != n)
		abort();
	close(fd);
}

static const char *tries_file(int who) { return who == USER ? "tries" : "code-tries"; }
static const char *pin_file(int who) { return who == USER ? "pin" : "code"; }

int card_tries(int who) {
	byte left;
	return card_read(tries_file(who), &left, 1) == 1 ? left : LIMIT;
}

static void set_tries(int who, int n) {
	byte left = n;
	card_write(tries_file(who), &left, 1);
}

rv card_give(const char *call, int who, const byte *pin, ulong length) {
	byte want[64];
	const char *name = who == USER ? "PIN" : "code";
	long n = card_read(pin_file(who), want, sizeof want);
	int left = card_tries(who);
	if (left == 0) {
		card_note("seen", "%s %s locked", call, name);
		return PIN_LOCKED;
	}
	if (n < 0 || (ulong)n != length || memcmp(want, pin, length) != 0) {
		set_tries(who, left - 1);
		card_note("seen", "%s %s wrong", call, name);
		return PIN_INCORRECT;
	}
	set_tries(who, LIMIT);
	card_note("seen", "%s %s right", call, name);
	return OK;
}

rv card_set(const byte *pin, ulong length) {
	if (length < 4 || length > 32)
		return PIN_LEN_RANGE;
	if (card_write("pin", pin, length) != 0)
		return HOST_MEMORY;
	set_tries(USER, LIMIT);
	card_note("seen", "new PIN");
	return OK;
}

/* Montgomery multiplication with limbs of 64 bits, the lowest first (Handbook of
 * Applied Cryptography, algorithm 14.36). Only a test key is used with it. */
#define LIMBS (KEY_BYTES / 8)
typedef unsigned __int128 wide;
typedef struct { ulong at[LIMBS]; } number;

static int load(number *n, const byte *from) {
	for (int i = 0; i < LIMBS; i++) {
		n->at[i] = 0;
		for (int j = 0; j < 8; j++)
			n->at[i] |= (ulong)from[KEY_BYTES - 1 - 8 * i - j] << (8 * j);
	}
	return 0;
}

static int read_number(const char *name, number *n) {
	byte raw[KEY_BYTES];
	return card_read(name, raw, sizeof raw) == sizeof raw ? load(n, raw) : -1;
}

static void multiply(number *out, const number *a, const number *b, const number *m, ulong inverse) {
	ulong t[LIMBS + 2] = {0};
	for (int i = 0; i < LIMBS; i++) {
		wide carry = 0;
		for (int j = 0; j < LIMBS; j++) {
			carry += (wide)a->at[j] * b->at[i] + t[j];
			t[j] = (ulong)carry;
			carry >>= 64;
		}
		carry += t[LIMBS];
		t[LIMBS] = (ulong)carry;
		t[LIMBS + 1] = (ulong)(carry >> 64);
		ulong q = t[0] * inverse;
		carry = ((wide)q * m->at[0] + t[0]) >> 64;
		for (int j = 1; j < LIMBS; j++) {
			carry += (wide)q * m->at[j] + t[j];
			t[j - 1] = (ulong)carry;
			carry >>= 64;
		}
		carry += t[LIMBS];
		t[LIMBS - 1] = (ulong)carry;
		t[LIMBS] = t[LIMBS + 1] + (ulong)(carry >> 64);
	}
	number less;
	ulong borrow = 0;
	for (int i = 0; i < LIMBS; i++) {
		wide d = (wide)t[i] - m->at[i] - borrow;
		less.at[i] = (ulong)d;
		borrow = (ulong)(d >> 64) & 1;
	}
	if (t[LIMBS] >= borrow)
		*out = less;
	else
		memcpy(out->at, t, sizeof out->at);
}

rv card_sign(const byte *in, byte *out) {
	number modulus, exponent, square, x, y = {{1}}, one = {{1}};
	if (read_number("modulus", &modulus) || read_number("exponent", &exponent) || read_number("square", &square))
		return HOST_MEMORY;
	ulong inverse = 1; /* -1/modulus mod 2^64, by Newton */
	for (int i = 0; i < 6; i++)
		inverse *= 2 - modulus.at[0] * inverse;
	inverse = -inverse;
	load(&x, in);
	multiply(&x, &x, &square, &modulus, inverse);
	multiply(&y, &y, &square, &modulus, inverse);
	for (int i = 8 * KEY_BYTES - 1; i >= 0; i--) {
		multiply(&y, &y, &y, &modulus, inverse);
		if (exponent.at[i / 64] >> (i % 64) & 1)
			multiply(&y, &y, &x, &modulus, inverse);
	}
	multiply(&y, &y, &one, &modulus, inverse);
	for (int i = 0; i < KEY_BYTES; i++)
		out[KEY_BYTES - 1 - i] = (byte)(y.at[i / 8] >> (8 * (i % 8)));
	return OK;
}
