/* What a PKCS#11 module of one RSA key needs of the interface, written after
 * PKCS#11 v3.1 sections 3 (types), 5 (functions) and 6.1 (RSA). */
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

typedef unsigned char byte;
typedef unsigned long ulong;
typedef ulong rv; /* CK_RV */

/* Section 5.1. */
#define OK 0x00UL
#define HOST_MEMORY 0x02UL
#define SLOT_ID_INVALID 0x03UL
#define ARGUMENTS_BAD 0x07UL
#define ATTRIBUTE_TYPE_INVALID 0x12UL
#define DATA_LEN_RANGE 0x21UL
#define DEVICE_REMOVED 0x32UL
#define FUNCTION_NOT_SUPPORTED 0x54UL
#define KEY_HANDLE_INVALID 0x60UL
#define MECHANISM_INVALID 0x70UL
#define OPERATION_NOT_INITIALIZED 0x91UL
#define PIN_INCORRECT 0xA0UL
#define PIN_LEN_RANGE 0xA2UL
#define PIN_LOCKED 0xA4UL
#define SESSION_HANDLE_INVALID 0xB3UL
#define SESSION_READ_ONLY 0xB5UL
#define SESSION_READ_ONLY_EXISTS 0xB7UL
#define TOKEN_NOT_PRESENT 0xE0UL
#define USER_ALREADY_LOGGED_IN 0x100UL
#define USER_NOT_LOGGED_IN 0x101UL
#define USER_ANOTHER_ALREADY_LOGGED_IN 0x104UL
#define BUFFER_TOO_SMALL 0x150UL

/* Section 3.2: structures are not packed on Unix (section 2.1). */
typedef struct { byte major, minor; } version;

typedef struct {
	version cryptoki;
	byte manufacturer[32];
	ulong flags;
	byte description[32];
	version library;
} info;

typedef struct {
	byte description[64];
	byte manufacturer[32];
	ulong flags;
	version hardware, firmware;
} slot_info;
#define TOKEN_PRESENT 0x01UL

typedef struct {
	byte label[32], manufacturer[32], model[16], serial[16];
	ulong flags;
	ulong max_sessions, sessions, max_rw_sessions, rw_sessions;
	ulong max_pin, min_pin;
	ulong total_public, free_public, total_private, free_private;
	version hardware, firmware;
	byte time[16];
} token_info;
#define LOGIN_REQUIRED 0x00000004UL
#define USER_PIN_INITIALIZED 0x00000008UL
#define TOKEN_INITIALIZED 0x00000400UL
#define PIN_COUNT_LOW 0x00010000UL
#define PIN_FINAL_TRY 0x00020000UL
#define PIN_IS_LOCKED 0x00040000UL
#define SO_SHIFT 4 /* the same three of the SO PIN: 0x00100000 and on */

/* Section 3.3. */
typedef struct { ulong slot, state, flags, error; } session_info;
#define RW_SESSION 0x02UL
enum { RO_PUBLIC, RO_USER, RW_PUBLIC, RW_USER, RW_SO };
enum { SO = 0, USER = 1, CONTEXT_SPECIFIC = 2, NOBODY = 99 };

/* Sections 3.4 and 4. */
typedef struct { ulong type; void *value; ulong length; } attribute;
#define UNAVAILABLE (~0UL)
enum { CERTIFICATE = 1, PUBLIC_KEY = 2, PRIVATE_KEY = 3 };
#define A_CLASS 0x000UL
#define A_TOKEN 0x001UL
#define A_LABEL 0x003UL
#define A_VALUE 0x011UL
#define A_CERTIFICATE_TYPE 0x080UL
#define A_KEY_TYPE 0x100UL
#define A_ID 0x102UL
#define A_SIGN 0x108UL
#define A_VERIFY 0x10AUL
#define A_MODULUS 0x120UL
#define A_PUBLIC_EXPONENT 0x122UL
#define A_ALWAYS_AUTHENTICATE 0x202UL

typedef struct { ulong type; void *parameter; ulong length; } mechanism;
#define M_RSA_PKCS 0x01UL
#define M_RSA_X_509 0x03UL

/* Section 3.6, in the order of pkcs11f.h. What is a pointer without a type is
 * not there: calling it ends the process. */
typedef struct {
	version v;
	rv (*initialize)(void *);
	rv (*finalize)(void *);
	rv (*get_info)(info *);
	rv (*get_function_list)(void **);
	rv (*get_slot_list)(byte, ulong *, ulong *);
	rv (*get_slot_info)(ulong, slot_info *);
	rv (*get_token_info)(ulong, token_info *);
	rv (*get_mechanism_list)(ulong, ulong *, ulong *);
	void *get_mechanism_info, *init_token;
	rv (*init_pin)(ulong, byte *, ulong);
	rv (*set_pin)(ulong, byte *, ulong, byte *, ulong);
	rv (*open_session)(ulong, ulong, void *, void *, ulong *);
	rv (*close_session)(ulong);
	rv (*close_all_sessions)(ulong);
	rv (*get_session_info)(ulong, session_info *);
	void *operation_state[2];
	rv (*login)(ulong, ulong, byte *, ulong);
	rv (*logout)(ulong);
	void *create_to_size[4];
	rv (*get_attribute_value)(ulong, ulong, attribute *, ulong);
	void *set_attribute_value;
	rv (*find_objects_init)(ulong, attribute *, ulong);
	rv (*find_objects)(ulong, ulong *, ulong, ulong *);
	rv (*find_objects_final)(ulong);
	void *encrypt_to_digest_final[13];
	rv (*sign_init)(ulong, mechanism *, ulong);
	rv (*sign)(ulong, byte *, ulong, byte *, ulong *);
	void *sign_update_to_wait_for_slot_event[24];
} function_list;

#endif
