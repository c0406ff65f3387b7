package module

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// The beginning of CK_FUNCTION_LIST (PKCS#11 v3.1 section 3.6, in the order of
// pkcs11f.h): a version, then pointers.
typedef struct {
	struct { unsigned char major, minor; } version;
	void *before_init_pin[10]; // C_Initialize to C_InitToken
	unsigned long (*init_pin)(unsigned long, void *, unsigned long);
	unsigned long (*set_pin)(unsigned long, void *, unsigned long, void *, unsigned long);
	void *before_login[6]; // C_OpenSession to C_SetOperationState
	unsigned long (*login)(unsigned long, unsigned long, void *, unsigned long);
} functions;

// inkan_open loads a module. It returns what dlopen or the module says, or
// NULL when all is well.
static const char *inkan_open(const char *path, functions **list, unsigned long *rv) {
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL) {
		return dlerror();
	}
	unsigned long (*get)(functions **) = (unsigned long (*)(functions **)) dlsym(handle, "C_GetFunctionList");
	if (get == NULL) {
		return "it has no C_GetFunctionList: it is no PKCS#11 module";
	}
	*rv = get(list);
	if (*rv == 0 && (*list == NULL || (*list)->login == NULL || (*list)->set_pin == NULL || (*list)->init_pin == NULL)) {
		return "C_GetFunctionList gives no functions";
	}
	return NULL;
}

static unsigned long inkan_login(functions *f, unsigned long session, unsigned long user, void *pin, unsigned long length) {
	return f->login(session, user, pin, length);
}

static unsigned long inkan_set_pin(functions *f, unsigned long session, void *old, unsigned long old_length, void *next, unsigned long next_length) {
	return f->set_pin(session, old, old_length, next, next_length);
}

static unsigned long inkan_init_pin(functions *f, unsigned long session, void *next, unsigned long length) {
	return f->init_pin(session, next, length);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/inkan-project/inkan/token"
)

// functions are those of a module that take a secret. They are called past
// miekg/pkcs11, which wants secrets as strings and leaves copies of them on two
// heaps: here the module gets the very page that the secret was read into.
type functions struct{ list *C.functions }

// open loads the module. dlopen gives the same instance for the same path, so
// that these are functions of the module that miekg/pkcs11 uses.
func open(path string) (functions, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var f functions
	var rv C.ulong
	said := C.inkan_open(name, &f.list, &rv) //nolint:gocritic // what cgo makes of it
	if said != nil {
		return functions{}, errors.New(C.GoString(said))
	}
	if rv != 0 {
		return functions{}, fmt.Errorf("C_GetFunctionList returned 0x%X", uint(rv))
	}
	return f, nil
}

// login calls C_Login (PKCS#11 v3.1 section 5.6.8), once.
func (f functions) login(session, user uint, pin *token.PIN) (rv uint, err error) {
	bytes, err := pin.Command(nil, 0, 0)
	if err != nil {
		return 0, err
	}
	return uint(C.inkan_login(f.list, C.ulong(session), C.ulong(user), pointer(bytes), C.ulong(len(bytes)))), nil
}

// setPIN calls C_SetPIN (section 5.5.7), once.
func (f functions) setPIN(session uint, old, next *token.PIN) (rv uint, err error) {
	before, err := old.Command(nil, 0, 0)
	if err != nil {
		return 0, err
	}
	after, err := next.Command(nil, 0, 0)
	if err != nil {
		return 0, err
	}
	return uint(C.inkan_set_pin(f.list, C.ulong(session), pointer(before), C.ulong(len(before)), pointer(after), C.ulong(len(after)))), nil
}

// initPIN calls C_InitPIN (section 5.5.6), once.
func (f functions) initPIN(session uint, next *token.PIN) (rv uint, err error) {
	bytes, err := next.Command(nil, 0, 0)
	if err != nil {
		return 0, err
	}
	return uint(C.inkan_init_pin(f.list, C.ulong(session), pointer(bytes), C.ulong(len(bytes)))), nil
}

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
