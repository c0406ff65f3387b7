package token

// Profile is what the daemon must know of a kind of card beforehand, because
// the card does not tell it or asking would cost a try. token/cardprofile
// chooses it; the zero value is not one.
type Profile struct {
	Name            string    // for logs and status
	Limit           int       // wrong PINs in a row until the card locks
	UnlockLimit     int       // wrong unlock codes in a row until it is dead
	EmptyVerifySafe bool      // a VERIFY without data is a free question (SP 800-73-5 part 2 section 3.2.1)
	Extended        bool      // the card takes extended length fields
	PIN             PINFormat // what a PIN can look like, and how it is padded
	Words           PINWords  // what the card says about a PIN or unlock code
	UnlockCode      PINFormat // what an unlock code can look like; padded as the PIN is
	// DefaultUnlockCodes are the codes that factories set and everybody knows.
	// They are compared with what a holder typed, never tried.
	DefaultUnlockCodes []string
}

// PINWords are the status words by which a kind of card speaks about a PIN,
// besides those of ISO/IEC 7816-4 section 5.6, which keep their meaning: 9000
// right, 63Cx wrong, 6983 and 6984 blocked.
type PINWords struct {
	// Wrong are words that mean wrong and tell no count, for example 6300,
	// 6982 or 6985.
	Wrong []uint16
	// Counted are words that mean wrong and count the tries left in their last
	// four bits, which are zero here: 6300 stands for 6300 to 630F.
	Counted []uint16
	// Blocked are words that mean no tries left, for example 63C0 from a card
	// that never says 6983.
	Blocked []uint16
}
