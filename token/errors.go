package token

import (
	"errors"
	"fmt"
)

// ErrNotMine means that the card does not carry this kind of application.
var ErrNotMine = errors.New("not an application of this kind")

// Kind says what went wrong, in the words of the error catalogue
// (proto/inkan/v1/errors.proto): the name of a Reason without its prefix.
// Code branches on it; texts for people are made from the catalogue.
type Kind string

// Kinds of error. A test holds this list and the catalogue together.
const (
	KindPINWrong               Kind = "PIN_WRONG"
	KindCardLocked             Kind = "CARD_LOCKED"
	KindPINMalformed           Kind = "PIN_MALFORMED"
	KindPINNoVerdict           Kind = "PIN_NO_VERDICT"
	KindPromptCancelled        Kind = "PROMPT_CANCELLED"
	KindPromptTimeout          Kind = "PROMPT_TIMEOUT"
	KindNoPINAgent             Kind = "NO_PIN_AGENT"
	KindPINSourceRefused       Kind = "PIN_SOURCE_REFUSED"
	KindCardNotFound           Kind = "CARD_NOT_FOUND"
	KindKeyNotFound            Kind = "KEY_NOT_FOUND"
	KindCardRemoved            Kind = "CARD_REMOVED"
	KindCardChanged            Kind = "CARD_CHANGED"
	KindCardSilent             Kind = "CARD_SILENT"
	KindCardFault              Kind = "CARD_FAULT"
	KindSignatureCheckFailed   Kind = "SIGNATURE_CHECK_FAILED"
	KindCertificateNotYetValid Kind = "CERTIFICATE_NOT_YET_VALID"
	KindCertificateExpired     Kind = "CERTIFICATE_EXPIRED"
	KindCertificateSuspended   Kind = "CERTIFICATE_SUSPENDED"
	KindCertificateRevoked     Kind = "CERTIFICATE_REVOKED"
	KindCertificateExpiring    Kind = "CERTIFICATE_EXPIRING"
	KindRevocationUnknown      Kind = "REVOCATION_UNKNOWN"
	KindKeyDecryptsOnly        Kind = "KEY_DECRYPTS_ONLY"
	KindNoKey                  Kind = "NO_KEY"
	KindCardUnresponsive       Kind = "CARD_UNRESPONSIVE"
	KindCardKeepsLogin         Kind = "CARD_KEEPS_LOGIN"
	KindCardReset              Kind = "CARD_RESET"
	KindPINAgentChanged        Kind = "PIN_AGENT_CHANGED"
	KindNewPINRefusedByCard    Kind = "NEW_PIN_REFUSED_BY_CARD"
	KindPINAgentLost           Kind = "PIN_AGENT_LOST"
	KindMethodUnknown          Kind = "METHOD_UNKNOWN"
	KindEnvironmentRefused     Kind = "ENVIRONMENT_REFUSED"
	KindJournalSlotsLost       Kind = "JOURNAL_SLOTS_LOST"
	KindPINExpired             Kind = "PIN_EXPIRED"
	KindPINNotSet              Kind = "PIN_NOT_SET"
	KindKeypadNeeded           Kind = "KEYPAD_NEEDED"
	KindPINMemoryUnavailable   Kind = "PIN_MEMORY_UNAVAILABLE"
	KindReadersStuck           Kind = "READERS_STUCK"
	KindTriesLow               Kind = "TRIES_LOW"
	KindNoCertificate          Kind = "NO_CERTIFICATE"
	KindReaderFault            Kind = "READER_FAULT"
	KindPCSCUnavailable        Kind = "PCSC_UNAVAILABLE"
	KindNoReader               Kind = "NO_READER"
	KindNoCard                 Kind = "NO_CARD"
	KindCardUnknown            Kind = "CARD_UNKNOWN"
	KindReaderInUse            Kind = "READER_IN_USE"
	KindCardDuplicate          Kind = "CARD_DUPLICATE"
	KindVirtualRefused         Kind = "VIRTUAL_REFUSED"
	KindPCSCDenied             Kind = "PCSC_DENIED"
	KindRequestInvalid         Kind = "REQUEST_INVALID"
	KindDigestLength           Kind = "DIGEST_LENGTH"
	KindAlgorithmRefused       Kind = "ALGORITHM_REFUSED"
	KindAlgorithmMismatch      Kind = "ALGORITHM_MISMATCH"
	KindMessageTooLarge        Kind = "MESSAGE_TOO_LARGE"
	KindOutcomeUnknown         Kind = "OUTCOME_UNKNOWN"
	KindRequestIDReused        Kind = "REQUEST_ID_REUSED"
	KindRequestNotKnown        Kind = "REQUEST_NOT_KNOWN"
	KindRequestIDsUsedUp       Kind = "REQUEST_IDS_USED_UP"
	KindCallerNotAllowed       Kind = "CALLER_NOT_ALLOWED"
	KindCallerGone             Kind = "CALLER_GONE"
	KindTooManyCalls           Kind = "TOO_MANY_CALLS"
	KindSocketNotTrusted       Kind = "SOCKET_NOT_TRUSTED"
	KindServiceTooOld          Kind = "SERVICE_TOO_OLD"
	KindAuditUnavailable       Kind = "AUDIT_UNAVAILABLE"
	KindJournalUnavailable     Kind = "JOURNAL_UNAVAILABLE"
	KindJournalDamaged         Kind = "JOURNAL_DAMAGED"
	KindStateInUse             Kind = "STATE_IN_USE"
	KindStateNotWritable       Kind = "STATE_NOT_WRITABLE"
	KindConfigInvalid          Kind = "CONFIG_INVALID"
	KindShuttingDown           Kind = "SHUTTING_DOWN"
	KindInternal               Kind = "INTERNAL"
	KindDatabaseDamaged        Kind = "DATABASE_DAMAGED"
	KindDatabaseNewer          Kind = "DATABASE_NEWER"
	KindServiceUnreachable     Kind = "SERVICE_UNREACHABLE"
	KindCallEnded              Kind = "CALL_ENDED"
	KindSocketNotUsable        Kind = "SOCKET_NOT_USABLE"
	KindSocketInUse            Kind = "SOCKET_IN_USE"
	KindPINKnownWrong          Kind = "PIN_KNOWN_WRONG"
	KindCardHeld               Kind = "CARD_HELD"
	KindCardDead               Kind = "CARD_DEAD"
	KindReinsertNeeded         Kind = "REINSERT_NEEDED"
	KindTryLater               Kind = "TRY_LATER"
	KindNewPINRefused          Kind = "NEW_PIN_REFUSED"
	KindUnlockCodeWrong        Kind = "UNLOCK_CODE_WRONG"
	KindChangeUnknown          Kind = "CHANGE_UNKNOWN"
	KindConfirmationRefused    Kind = "CONFIRMATION_REFUSED"
	KindUnlockCodeUsedUp       Kind = "UNLOCK_CODE_USED_UP"
	KindUnlockCodeKnownWrong   Kind = "UNLOCK_CODE_KNOWN_WRONG"
	KindUnlockUnknown          Kind = "UNLOCK_UNKNOWN"
	KindUnlockCodeMalformed    Kind = "UNLOCK_CODE_MALFORMED"
	KindNewPINsDiffer          Kind = "NEW_PINS_DIFFER"
	KindCardStoppedHere        Kind = "CARD_STOPPED_HERE"
	KindCardNotRegistered      Kind = "CARD_NOT_REGISTERED"
	KindCardNotStopped         Kind = "CARD_NOT_STOPPED"
	KindCardNotHeld            Kind = "CARD_NOT_HELD"
	KindStateCopied            Kind = "STATE_COPIED"
	KindDefaultUnlockCode      Kind = "DEFAULT_UNLOCK_CODE"
	KindUsedElsewhere          Kind = "USED_ELSEWHERE"
	KindTokenAmbiguous         Kind = "TOKEN_AMBIGUOUS"
	KindMechanismMissing       Kind = "MECHANISM_MISSING"
	KindModuleFault            Kind = "MODULE_FAULT"
	KindModuleUnavailable      Kind = "MODULE_UNAVAILABLE"
)

// Error is what people will be told: a kind and the values for its text.
type Error struct {
	Kind  Kind
	Meta  map[string]string // values for the text's placeholders; shown to callers
	cause error             // for the service's own log only
}

// NewError returns an error of a kind. Pairs are names and values for the
// text, for example "card", "piv-00…".
func NewError(kind Kind, pairs ...string) *Error {
	e := &Error{Kind: kind}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.set(pairs[i], pairs[i+1])
	}
	return e
}

// Errorf returns an error whose text gets a detail.
func Errorf(kind Kind, format string, args ...any) *Error {
	return NewError(kind, "detail", fmt.Sprintf(format, args...))
}

func (e *Error) set(name, value string) {
	if e.Meta == nil {
		e.Meta = map[string]string{}
	}
	e.Meta[name] = value
}

// With attaches a value for the text, unless it has one of this name.
func (e *Error) With(name, value string) *Error {
	if e.Meta[name] == "" {
		e.set(name, value)
	}
	return e
}

// InJapanese attaches the detail for Japanese texts; without it they show the
// English one.
func (e *Error) InJapanese(detail string) *Error {
	e.set("detail_ja", detail)
	return e
}

// Because attaches the cause, for the log.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

// WithTries attaches the tries left, for errors about a PIN.
func (e *Error) WithTries(t Tries) *Error {
	e.set("tries_left", t.String())
	return e
}

// Error implements error, for logs: texts for people are made elsewhere.
func (e *Error) Error() string {
	s := string(e.Kind)
	if d := e.Meta["detail"]; d != "" {
		s += ": " + d
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of err, or KindInternal if it has none, or "" for
// nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}
