/* The objects of the token, and what they want to know of the session. */
#ifndef OBJECTS_H
#define OBJECTS_H

#include "cryptoki.h"

#define KEY_OBJECT 3

int is_open(ulong session);
int is_user(void); /* the user is logged in */

/* shows reports whether an object can be seen now. */
int shows(ulong object);

rv find_objects_init(ulong session, attribute *template, ulong n);
rv find_objects(ulong session, ulong *found, ulong max, ulong *count);
rv find_objects_final(ulong session);
rv get_attribute_value(ulong session, ulong object, attribute *template, ulong n);

#endif
