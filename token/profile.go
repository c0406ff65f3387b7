package token

// Profile is what the daemon must know of a kind of card beforehand, because
// the card does not tell it or asking would cost a try.
type Profile struct {
	Limit           int       // wrong tries in a row until the card locks
	EmptyVerifySafe bool      // a VERIFY without data is a free question (SP 800-73-5 part 2 section 3.2.1)
	PIN             PINFormat // what a PIN can look like
}
