// Package client is what a program imports to sign with a company's IC card
// through inkand, the service that owns the card.
//
// [Dial] connects, [Client.Keys] lists what can sign, and [Client.Signer]
// gives a [crypto.Signer] for everything in the standard library that takes
// one, such as [crypto/x509.CreateCertificateRequest]. [Client.Sign] is the
// same in one call, with the record's number in the log.
//
//	c, err := client.Dial(ctx, client.Options{})
//	if err != nil {
//		return err // a *client.Error says in plain words what to do next
//	}
//	defer c.Close()
//	keys, err := c.Keys(ctx)
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
// where a PIN was concerned. Branch with errors.Is:
//
//	if errors.Is(err, client.ErrPINWrong) { … }
//
// # What is guaranteed
//
// What is asked for is done once. This package repeats no call that may have
// spent a try: when the connection is lost meanwhile it asks for the answer
// alone, and the caller decides. A Client may be used by several
// goroutines at once. Close ends every goroutine that the package started.
//
// # What the caller must do
//
// Close the Client. Give calls a context with a deadline that leaves a person
// time to enter a PIN (inkand ends a prompt by itself). After an error of a
// call that used a PIN, look at the status before trying again.
package client
