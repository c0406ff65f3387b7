/* The lies. Which one is told stands in the file "lie" of the card, and is read
 * again at each call: a card can be honest again. */
#ifndef LIES_H
#define LIES_H

#include "cryptoki.h"

/* lie_at tells the lies that need nothing of the call they are told in: "crash",
 * "hang" and others, as "WHAT:CALL". It returns what the call is to return at
 * once, OK where it is to go on. */
rv lie_at(const char *call);

/* lie_note_process notes the number of this process and when it was started. */
void lie_note_process(void);

/* A function begins by lying. */
#define BEGIN(call) \
	do { \
		rv said = lie_at(call); \
		if (said != OK) \
			return said; \
	} while (0)

/* lies reports whether the lie is "what:call", and gives its number. */
int lies(const char *what, const char *call, long *number);

#endif
