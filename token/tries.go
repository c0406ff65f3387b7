package token

import "fmt"

// Tries is a number of wrong entries still allowed, or unknown. Unknown is a
// value of its own and the zero value; it is never shown as a number.
type Tries struct {
	n     uint8
	known bool
	fewer bool
}

// KnownTries returns n tries, at most 15 (one nibble of 63Cx, ISO/IEC 7816-4
// section 5.6).
func KnownTries(n int) Tries {
	return Tries{n: uint8(min(max(n, 0), 15)), known: true}
}

// FewerTries returns an unknown number of tries of which the card says that
// some are spent.
func FewerTries() Tries { return Tries{fewer: true} }

// IsFewer reports whether the card says that some tries are spent, but not how
// many.
func (t Tries) IsFewer() bool { return t.fewer }

// Count returns the number and whether it is known.
func (t Tries) Count() (n int, known bool) { return int(t.n), t.known }

// String returns the number or "unknown".
func (t Tries) String() string {
	if !t.known {
		return "unknown"
	}
	return fmt.Sprint(t.n)
}

// CardState is about a card's PIN and unlock code. It is another type than
// [CertificateState] on purpose: the two are never merged.
type CardState uint8

// Card states of docs/states.md.
const (
	CardReady       CardState = 1 // more than three tries left
	CardLow         CardState = 2 // one to three tries left
	CardHeld        CardState = 3 // 保留: three tries in a row without a verdict
	CardLocked      CardState = 4 // ロック: no tries left
	CardDead        CardState = 5 // 使用不能: unlock tries used up
	CardStoppedHere CardState = 6 // 使用停止: reported lost on this PC
)

// CertificateState is about a certificate.
type CertificateState uint8

// Certificate states of docs/states.md.
const (
	CertificateGood        CertificateState = 1
	CertificateExpiring    CertificateState = 2
	CertificateNotYetValid CertificateState = 3
	CertificateExpired     CertificateState = 4
	CertificateSuspended   CertificateState = 5 // 休止
	CertificateRevoked     CertificateState = 6 // 失効
	CertificateUnknown     CertificateState = 7 // revocation could not be checked
)
