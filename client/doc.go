// Package client is what a program imports to sign with a company's IC card
// through inkand, the service that owns the card.
//
// # Which function to use
//
//   - to sign a document: hash it, then [Client.Sign], which also gives the
//     number of the record in the log;
//   - to sign many documents under one prompt: [Client.SignBatch];
//   - to hand a key to something that takes a [crypto.Signer], such as
//     [crypto/x509.CreateCertificateRequest]: [Client.Signer], and
//     [Signer.ForDocument] so that the person sees what is signed;
//   - to let a person choose a key: [Client.Keys]; it comes with what the
//     certificate says, [Client.Certificate] has its bytes;
//   - to show whether a card is there: [Client.Watch], which goes on when
//     inkand is restarted, rather than [Client.Status] again and again;
//   - when something does not work: [Client.Diagnose], layer by layer;
//   - to see whether the person knows the PIN: [Client.VerifyPIN]. It is not
//     needed before Sign, and a wrong one spends a try like any other.
//
// # From Dial to Close
//
// One [Client] is enough for a program: it may be used by several goroutines
// at once, and all its calls share one connection. [Dial] says at once when
// inkand is not there, cannot be trusted or is too old. Later losses mend
// themselves: calls fail with [ErrServiceUnreachable] while inkand is away, and
// work again within half a second after it is back. inkand closes a connection
// that was not used for five minutes; the next call makes another, which costs
// about a millisecond. One user has eight connections and 250 calls at once,
// over all programs; more is [ErrTooManyCalls].
//
// Every function that asks inkand takes a context. A deadline on one that may
// ask for the PIN must leave a person time to enter it: inkand ends a prompt
// by itself after two minutes. When a context ends, the call returns at once,
// but what the card does is finished and recorded.
//
//	c, err := client.Dial(ctx, client.Options{})
//	if err != nil {
//		return err // a *client.Error says in plain words what to do next
//	}
//	defer c.Close()
//
// # The PIN
//
// A PIN never goes through gRPC and never becomes a Go string. inkand asks for
// it over a second socket, pin.sock. A program that sets no [PINSource] has
// nothing to do: the prompt of the person's session is asked. A program that
// sets one is asked for its own calls only; its source writes the PIN into a
// buffer of locked memory, which is handed over as a file descriptor and then
// wiped. A source belongs to a person who is there: each wrong PIN spends one
// of the card's few tries, and the last one locks the company's seal.
//
// A source is asked for the PIN alone, unless it says that it can ask a person
// for more: for the unlock code and new PINs a [SecretSource], for a typed
// confirmation (few tries are left, the card is held) a [Confirmer].
//
// # Errors
//
// Every error of a call is a [*Error]: a stable code such as INK-1001, what
// happened and the next step in the caller's language, and the tries left
// where a PIN was concerned. Branch with errors.Is, and show people the whole
// text; it names the next step:
//
//	if errors.Is(err, client.ErrPINWrong) { … }
//
// Do not repeat a call that used a PIN because it failed: the error says
// whether a try was spent, and a person decides. What may be repeated after a
// while is [ErrServiceUnreachable] of a call that needs no PIN,
// [ErrTooManyCalls] and [ErrReaderInUse].
//
// # Older and newer inkand
//
// An inkand that is newer than this package works. What it adds to an answer is
// passed over; an error that this package does not know has Reason
// REASON_UNSPECIFIED, and code and texts as inkand sent them. One that is too
// old could pass over what a request says, so it is not called:
// [ErrServiceTooOld], looked for on each connection, since an update can be
// taken back. [Client.Service] tells versions.
//
// # What is guaranteed
//
// What is asked for is done once. This package repeats no call that may have
// spent a try: when the connection is lost meanwhile it asks for the answer
// alone, and the caller decides. Nothing is sent to a socket that somebody else
// than root, inkand's user or the user himself could have made. Close ends every
// goroutine that the package started.
//
// # What the caller must do
//
// Close the Client. Give calls a context with a deadline that leaves a person
// time to enter a PIN. After an error of a call that used a PIN, look at the
// status before trying again.
//
// Tests of programs find an inkand of their own in package clienttest.
package client
