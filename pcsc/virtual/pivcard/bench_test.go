package pivcard

import (
	"bytes"
	"testing"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// BenchmarkVerifyAndSign is the card's own share of a signature with a PIN:
// reset, SELECT, VERIFY (two synced lines), GENERAL AUTHENTICATE (one).
func BenchmarkVerifyAndSign(b *testing.B) {
	c, err := Open(Options{Dir: b.TempDir(), Keys: map[Slot]KeyType{SlotAuthentication: P256, SlotSignature: RSA2048}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for name, command := range map[string]apdu.Command{
		"P-256":    signCommand(SlotAuthentication, P256, make([]byte, 32)),
		"RSA-2048": signCommand(SlotSignature, RSA2048, bytes.Repeat([]byte{0x01}, 256)),
	} {
		b.Run(name, func(b *testing.B) {
			frame, err := command.Bytes()
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				c.Reset()
				wantSW(b, c, selectPIV, apdu.SWOK)
				wantSW(b, c, rightPIN, apdu.SWOK)
				if answer := c.Transmit(frame); len(answer) < 64 {
					b.Fatalf("signing answered %x", answer)
				}
			}
		})
	}
}
