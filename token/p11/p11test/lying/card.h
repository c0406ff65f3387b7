/* The card of the module that lies: files in one directory, so that it outlives
 * the process and is the referee of what it was asked for. */
#ifndef CARD_H
#define CARD_H

#include "cryptoki.h"

#define KEY_BYTES 256
#define LIMIT 10 /* wrong PINs in a row that lock it; the same for the SO PIN */

/* card_path says where a file of the card is. */
const char *card_path(const char *name);

/* card_read reads a file, at most size bytes; -1 if there is none. */
long card_read(const char *name, void *to, ulong size);

/* card_has reports whether there is a file. */
int card_has(const char *name);

/* card_note adds a line to what the card saw. */
void card_note(const char *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* card_tries returns the tries left of the SO PIN (0) or the user's (1). */
int card_tries(int who);

/* card_give gives a PIN of who to the card once, in a call of some name. */
rv card_give(const char *call, int who, const byte *pin, ulong length);

/* card_set sets the user's PIN. */
rv card_set(const byte *pin, ulong length);

/* card_sign raises a number of KEY_BYTES to the private exponent. */
rv card_sign(const byte *in, byte *out);

#endif
