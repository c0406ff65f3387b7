package client

import (
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// reasonError is a sentinel: an error that only says its reason.
type reasonError inkanpb.Reason

// Error implements error.
func (r reasonError) Error() string {
	return catalogue.Code(inkanpb.Reason(r)) + " " + catalogue.Name(inkanpb.Reason(r))
}

// Sentinels for errors.Is, one for each reason of errors.proto, which says
// what each means and whether a try was spent.
var (
	ErrPINWrong             error = reasonError(inkanpb.Reason_REASON_PIN_WRONG)
	ErrCardLocked           error = reasonError(inkanpb.Reason_REASON_CARD_LOCKED)
	ErrPINMalformed         error = reasonError(inkanpb.Reason_REASON_PIN_MALFORMED)
	ErrPINNoVerdict         error = reasonError(inkanpb.Reason_REASON_PIN_NO_VERDICT)
	ErrPromptCancelled      error = reasonError(inkanpb.Reason_REASON_PROMPT_CANCELLED)
	ErrPromptTimeout        error = reasonError(inkanpb.Reason_REASON_PROMPT_TIMEOUT)
	ErrNoPINAgent           error = reasonError(inkanpb.Reason_REASON_NO_PIN_AGENT)
	ErrPINSourceRefused     error = reasonError(inkanpb.Reason_REASON_PIN_SOURCE_REFUSED)
	ErrCardNotFound         error = reasonError(inkanpb.Reason_REASON_CARD_NOT_FOUND)
	ErrKeyNotFound          error = reasonError(inkanpb.Reason_REASON_KEY_NOT_FOUND)
	ErrCardRemoved          error = reasonError(inkanpb.Reason_REASON_CARD_REMOVED)
	ErrCardChanged          error = reasonError(inkanpb.Reason_REASON_CARD_CHANGED)
	ErrCardSilent           error = reasonError(inkanpb.Reason_REASON_CARD_SILENT)
	ErrCardFault            error = reasonError(inkanpb.Reason_REASON_CARD_FAULT)
	ErrSignatureCheckFailed error = reasonError(inkanpb.Reason_REASON_SIGNATURE_CHECK_FAILED)
	ErrCertificateNotUsable error = reasonError(inkanpb.Reason_REASON_CERTIFICATE_NOT_USABLE)
	ErrNoCertificate        error = reasonError(inkanpb.Reason_REASON_NO_CERTIFICATE)
	ErrReaderFault          error = reasonError(inkanpb.Reason_REASON_READER_FAULT)
	ErrPCSCUnavailable      error = reasonError(inkanpb.Reason_REASON_PCSC_UNAVAILABLE)
	ErrNoReader             error = reasonError(inkanpb.Reason_REASON_NO_READER)
	ErrNoCard               error = reasonError(inkanpb.Reason_REASON_NO_CARD)
	ErrCardUnknown          error = reasonError(inkanpb.Reason_REASON_CARD_UNKNOWN)
	ErrReaderInUse          error = reasonError(inkanpb.Reason_REASON_READER_IN_USE)
	ErrCardDuplicate        error = reasonError(inkanpb.Reason_REASON_CARD_DUPLICATE)
	ErrVirtualRefused       error = reasonError(inkanpb.Reason_REASON_VIRTUAL_REFUSED)
	ErrPCSCDenied           error = reasonError(inkanpb.Reason_REASON_PCSC_DENIED)
	ErrRequestInvalid       error = reasonError(inkanpb.Reason_REASON_REQUEST_INVALID)
	ErrDigestLength         error = reasonError(inkanpb.Reason_REASON_DIGEST_LENGTH)
	ErrAlgorithmRefused     error = reasonError(inkanpb.Reason_REASON_ALGORITHM_REFUSED)
	ErrAlgorithmMismatch    error = reasonError(inkanpb.Reason_REASON_ALGORITHM_MISMATCH)
	ErrMessageTooLarge      error = reasonError(inkanpb.Reason_REASON_MESSAGE_TOO_LARGE)
	ErrCallerNotAllowed     error = reasonError(inkanpb.Reason_REASON_CALLER_NOT_ALLOWED)
	ErrCallerGone           error = reasonError(inkanpb.Reason_REASON_CALLER_GONE)
	ErrAuditUnavailable     error = reasonError(inkanpb.Reason_REASON_AUDIT_UNAVAILABLE)
	ErrJournalUnavailable   error = reasonError(inkanpb.Reason_REASON_JOURNAL_UNAVAILABLE)
	ErrJournalDamaged       error = reasonError(inkanpb.Reason_REASON_JOURNAL_DAMAGED)
	ErrStateInUse           error = reasonError(inkanpb.Reason_REASON_STATE_IN_USE)
	ErrStateNotWritable     error = reasonError(inkanpb.Reason_REASON_STATE_NOT_WRITABLE)
	ErrConfigInvalid        error = reasonError(inkanpb.Reason_REASON_CONFIG_INVALID)
	ErrShuttingDown         error = reasonError(inkanpb.Reason_REASON_SHUTTING_DOWN)
	ErrInternal             error = reasonError(inkanpb.Reason_REASON_INTERNAL)
	ErrDatabaseDamaged      error = reasonError(inkanpb.Reason_REASON_DATABASE_DAMAGED)
	ErrServiceUnreachable   error = reasonError(inkanpb.Reason_REASON_SERVICE_UNREACHABLE)
	ErrPINKnownWrong        error = reasonError(inkanpb.Reason_REASON_PIN_KNOWN_WRONG)
	ErrCardHeld             error = reasonError(inkanpb.Reason_REASON_CARD_HELD)
	ErrCardDead             error = reasonError(inkanpb.Reason_REASON_CARD_DEAD)
	ErrReinsertNeeded       error = reasonError(inkanpb.Reason_REASON_REINSERT_NEEDED)
	ErrTryLater             error = reasonError(inkanpb.Reason_REASON_TRY_LATER)
	ErrNewPINRefused        error = reasonError(inkanpb.Reason_REASON_NEW_PIN_REFUSED)
	ErrUnlockCodeWrong      error = reasonError(inkanpb.Reason_REASON_UNLOCK_CODE_WRONG)
	ErrChangeUnknown        error = reasonError(inkanpb.Reason_REASON_CHANGE_UNKNOWN)
	ErrConfirmationRefused  error = reasonError(inkanpb.Reason_REASON_CONFIRMATION_REFUSED)
	ErrUnlockCodeMalformed  error = reasonError(inkanpb.Reason_REASON_UNLOCK_CODE_MALFORMED)
	ErrNewPINsDiffer        error = reasonError(inkanpb.Reason_REASON_NEW_PINS_DIFFER)
	ErrCardStoppedHere      error = reasonError(inkanpb.Reason_REASON_CARD_STOPPED_HERE)
	ErrCardNotRegistered    error = reasonError(inkanpb.Reason_REASON_CARD_NOT_REGISTERED)
	ErrCardNotStopped       error = reasonError(inkanpb.Reason_REASON_CARD_NOT_STOPPED)
	ErrCardNotHeld          error = reasonError(inkanpb.Reason_REASON_CARD_NOT_HELD)
	ErrStateCopied          error = reasonError(inkanpb.Reason_REASON_STATE_COPIED)
	ErrDefaultUnlockCode    error = reasonError(inkanpb.Reason_REASON_DEFAULT_UNLOCK_CODE)
	ErrUsedElsewhere        error = reasonError(inkanpb.Reason_REASON_USED_ELSEWHERE)
	ErrCallEnded            error = reasonError(inkanpb.Reason_REASON_CALL_ENDED)
	ErrSocketNotUsable      error = reasonError(inkanpb.Reason_REASON_SOCKET_NOT_USABLE)
	ErrSocketInUse          error = reasonError(inkanpb.Reason_REASON_SOCKET_IN_USE)
)
