package pivcard

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Commands of the tests, in hexadecimal.
const (
	selectPIV   = "00A40400 05 A000000308 00"
	queryPIN    = "00200080"
	rightPIN    = "00200080 08 313233343536FFFF"
	wrongPIN    = "00200080 08 393939393939FFFF"
	newPIN      = "363534333231FFFF" // 654321
	rightUnlock = "3132333435363738"
	wrongUnlock = "3939393939393939"
)

func cheapKeys() map[Slot]KeyType {
	return map[Slot]KeyType{SlotAuthentication: P256, SlotSignature: P256, SlotCardAuth: P256}
}

func open(t testing.TB, dir string) *Card {
	t.Helper()
	c, err := Open(Options{Dir: dir, Keys: cheapKeys()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newCard returns a card without RSA, which is slow to make, with PIV
// selected.
func newCard(t testing.TB) *Card {
	t.Helper()
	c := open(t, t.TempDir())
	wantSW(t, c, selectPIV, apdu.SWOK)
	return c
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func send(t testing.TB, c *Card, command string) apdu.Response {
	t.Helper()
	r, err := apdu.ParseResponse(c.Transmit(unhex(t, command)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantSW(t testing.TB, c *Card, command string, want apdu.SW) {
	t.Helper()
	if r := send(t, c, command); r.SW != want {
		t.Errorf("%s answered %s, want %s", command, r.SW, want)
	}
}

// wantSWs takes commands and status words in turn.
func wantSWs(t testing.TB, c *Card, wants ...any) {
	t.Helper()
	for i := 0; i+1 < len(wants); i += 2 {
		command, isCommand := wants[i].(string)
		want, isSW := wants[i+1].(apdu.SW)
		if !isCommand || !isSW {
			t.Fatalf("pair %d is no command and status word", i/2)
		}
		wantSW(t, c, command, want)
	}
}

// triesLeft is 63Cx (ISO/IEC 7816-4 section 5.6).
func triesLeft(n int) apdu.SW { return apdu.SW(0x63C0 | n) }

func truth(t testing.TB, c *Card) Truth {
	t.Helper()
	got, err := ReadTruth(c.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCardIsSelectedByItsNameAndRightTruncations(t *testing.T) {
	want := unhex(t, "61 25 4F06 000010000100 7907 4F05 A000000308 5012")
	want = append(want, "Inkan Virtual Card"...)
	for _, aid := range []string{
		"00A40400 0B A000000308000010000100 00",
		"00A40400 09 A00000030800001000 00",
		"00A40400 05 A000000308 00",
	} {
		r := send(t, open(t, t.TempDir()), aid)
		if !bytes.Equal(r.Data, want) || r.SW != apdu.SWOK {
			t.Errorf("%s answered %x %s, want %x 9000", aid, r.Data, r.SW, want)
		}
	}
}

func TestCommandsThatDoNotFitAreRefused(t *testing.T) {
	c := open(t, t.TempDir())
	wantSWs(t, c,
		queryPIN, apdu.SWNotAllowed, // before SELECT
		rightPIN, apdu.SWNotAllowed,
		"00CB3FFF 05 5C03 5FC102 00", apdu.SWNotAllowed,
		"00879E11 00", apdu.SWNotAllowed,
		"00A40400 04 A0000003", apdu.SWNotFound,
		"00A40400 06 A00000030801", apdu.SWNotFound,
		"00A40400 0C A00000030800001000010000", apdu.SWNotFound,
		"00A40000 02 3F00", apdu.SWIncorrectP1P2,
		selectPIV, apdu.SWOK,
		"80200080", apdu.SWClaUnsupported,
		"01200080", apdu.SWClaUnsupported,
		"00FD0000 00", apdu.SWInsUnsupported,
		"00DB3FFF 02 5C00", apdu.SWSecurityStatus,
		"00", apdu.SWWrongLength,
		"00200080 0831", apdu.SWWrongLength,
		"00CB0000 05 5C03 5FC102 00", apdu.SWIncorrectP1P2,
		"00CB3FFF 02 5D00 00", apdu.SWWrongData,
		"00CB3FFF 05 5C03 5FC1FF 00", apdu.SWNotFound,
		"00C00000 00", apdu.SWConditions, // nothing left to give
		"00C00100 00", apdu.SWIncorrectP1P2,
		"00200081", apdu.SWRefNotFound,
		"00200180", apdu.SWIncorrectP1P2,
		"00240180 10"+rightUnlock+newPIN, apdu.SWIncorrectP1P2,
		"00240082 10"+rightUnlock+newPIN, apdu.SWRefNotFound,
		"002C0180 10"+rightUnlock+newPIN, apdu.SWIncorrectP1P2,
		"002C0081 10"+rightUnlock+newPIN, apdu.SWRefNotFound,
		"00240080", apdu.SWWrongData,
		"002C0080", apdu.SWWrongData,
		"10200080 08 313233343536FFFF", apdu.SWChaining,
	)
	if got := truth(t, c); got.PINLeft != Tries || got.UnlockLeft != Tries {
		t.Errorf("refused commands cost tries: %+v", got)
	}
}

func TestDataObjectsAreThoseOfPIV(t *testing.T) {
	c := newCard(t)
	chuid := send(t, c, "00CB3FFF 05 5C03 5FC102 00")
	guid, err := apdu.Find(chuid.Data, 0x53, 0x34)
	if err != nil || !bytes.Equal(guid, c.GUID()) || !bytes.HasPrefix(guid, []byte(GUIDPrefix)) || len(guid) != 16 {
		t.Errorf("GUID = %x, %v, want the card's own %x with the prefix of virtual cards", guid, err, c.GUID())
	}
	expiry, err := apdu.Find(chuid.Data, 0x53, 0x35)
	if _, parseErr := time.Parse("20060102", string(expiry)); err != nil || parseErr != nil {
		t.Errorf("expiry %q: %v, %v", expiry, err, parseErr)
	}
	number, err := apdu.Find(chuid.Data, 0x53, 0x30)
	if want := "S9999F9999F999999F0F1F0000000000300001E"; err != nil || fascNText(number) != want {
		t.Errorf("FASC-N = %s, %v, want %s", fascNText(number), err, want)
	}
	discovery := send(t, c, "00CB3FFF 03 5C01 7E 00")
	if want := unhex(t, "7E12 4F0B A000000308000010000100 5F2F02 4000"); !bytes.Equal(discovery.Data, want) {
		t.Errorf("discovery object = %x, want %x", discovery.Data, want)
	}
}

// fascNText decodes the 5-bit characters of a FASC-N: four bits, lowest first,
// and odd parity. S, F and E are the sentinels and the separator. The last
// character is a check sum and left out.
func fascNText(b []byte) string {
	var text strings.Builder
	for i := 0; i < 39; i++ {
		var value, ones byte
		for bit := range 5 {
			at := i*5 + bit
			if b[at/8]>>(7-at%8)&1 == 1 {
				ones++
				value |= 1 << bit & 0x0F
			}
		}
		if ones%2 == 0 {
			return text.String() + " parity"
		}
		text.WriteByte("0123456789?SFFFE"[value])
	}
	return text.String()
}

func TestCertificatesAreOfTheKeysAndTheAuthority(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	c, err := Open(Options{Dir: t.TempDir(), Keys: cheapKeys(), Company: "有限会社テスト", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ca, err := x509.ParseCertificate(c.Authority())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	wantSW(t, c, selectPIV, apdu.SWOK)
	for object, want := range map[string]struct {
		slot  Slot
		name  string
		usage x509.KeyUsage
	}{
		"5FC105": {SlotAuthentication, "仮想カード 認証用 (9A)", x509.KeyUsageDigitalSignature},
		"5FC10A": {SlotSignature, "仮想カード 署名用 (9C)", x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment},
		"5FC101": {SlotCardAuth, "仮想カード カード認証用 (9E)", x509.KeyUsageDigitalSignature},
	} {
		r := send(t, c, "00CB3FFF 000005 5C03"+object+"0000") // extended: in one piece
		der, err := apdu.Find(r.Data, 0x53, 0x70)
		if err != nil || !bytes.Equal(der, c.Certificate(want.slot)) {
			t.Fatalf("%s: %v, %d bytes of certificate", want.slot, err, len(der))
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got := certificate.Subject.CommonName; got != want.name || certificate.Subject.Organization[0] != "有限会社テスト" || certificate.Subject.Country[0] != "JP" {
			t.Errorf("%s: subject %s, want name %s", want.slot, certificate.Subject, want.name)
		}
		if certificate.KeyUsage != want.usage || !certificate.NotAfter.Equal(now.AddDate(2, 0, 0)) {
			t.Errorf("%s: usage %b until %s", want.slot, certificate.KeyUsage, certificate.NotAfter)
		}
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", want.slot, err)
		}
	}
}

func TestLongAnswersComeInPieces(t *testing.T) {
	c := newCard(t)
	whole := send(t, c, "00CB3FFF 000005 5C03 5FC10A 0000")
	if whole.SW != apdu.SWOK || len(whole.Data) <= 256 {
		t.Fatalf("extended: %d bytes, %s, want more than 256 and 9000", len(whole.Data), whole.SW)
	}
	first := send(t, c, "00CB3FFF 05 5C03 5FC10A 00")
	if n, more := first.SW.More(); len(first.Data) != 256 || !more || n != min(len(whole.Data)-256, 256) {
		t.Errorf("short: %d bytes, %s", len(first.Data), first.SW)
	}
	wantSW(t, c, "00C00000", apdu.SWWrongLength) // costs nothing
	collected := first.Data
	for sw := first.SW; sw != apdu.SWOK; {
		r := send(t, c, "00C00000 64") // smaller than announced
		collected, sw = append(collected, r.Data...), r.SW
	}
	if !bytes.Equal(collected, whole.Data) {
		t.Errorf("pieces make %d bytes, want %d equal ones", len(collected), len(whole.Data))
	}
	send(t, c, "00CB3FFF 05 5C03 5FC10A 00")
	wantSW(t, c, queryPIN, triesLeft(Tries))
	wantSW(t, c, "00C00000 00", apdu.SWConditions) // another command came between
	if r := send(t, c, "00CB3FFF 05 5C03 5FC10A"); len(r.Data) != 256 || r.SW&0xFF00 != 0x6100 {
		t.Errorf("without Le: %d bytes, %s, want 256 and 61xx", len(r.Data), r.SW)
	}
}

func TestCardIsTheSameAfterReopening(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	guid, certificate := c.GUID(), c.Certificate(SlotSignature)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if !bytes.Equal(again.GUID(), guid) || !bytes.Equal(again.Certificate(SlotSignature), certificate) {
		t.Error("the card has another GUID or certificate")
	}
	if again.Certificate(SlotKeyManagement) != nil {
		t.Error("there is a certificate for a key that is not there")
	}
}

func TestCardBelongsToOneOpener(t *testing.T) {
	c := newCard(t)
	if _, err := Open(Options{Dir: c.options.Dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
	if _, err := Open(Options{Dir: filepath.Join(c.options.Dir, "lock")}); err == nil {
		t.Error("a file was taken for a directory")
	}
	if _, err := Open(Options{Dir: t.TempDir(), Keys: map[Slot]KeyType{0x82: P256}}); err == nil {
		t.Error("a slot that is not there was filled")
	}
	if _, err := Open(Options{Dir: t.TempDir(), Keys: map[Slot]KeyType{SlotCardAuth: 0x06}}); err == nil {
		t.Error("a key of an unknown type was made")
	}
}

func TestFilesArePrivateAndHoldNoSecret(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c, wrongPIN, triesLeft(9), rightPIN, apdu.SWOK,
		"00240080 10 313233343536FFFF"+newPIN, apdu.SWOK, "002C0080 10"+wrongUnlock+newPIN, triesLeft(9))
	secrets := [][]byte{[]byte("123456"), []byte("654321"), []byte("999999")}
	for _, padded := range []string{"313233343536FFFF", newPIN, rightUnlock} {
		secrets = append(secrets, []byte(base64.StdEncoding.EncodeToString(unhex(t, padded))[:8]), []byte(strings.ToLower(padded[:12])))
	}
	for _, name := range []string{profileName, truthName, "lock"} {
		path := filepath.Join(c.options.Dir, name)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v, want 0600", name, info.Mode(), err)
		}
		content, _ := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(content, secret) && name != truthName || bytes.Contains(bytes.ToLower(content), secret) && len(secret) > 6 {
				t.Errorf("%s holds the secret %q", name, secret)
			}
		}
	}
}

func TestTruthCountsWhatTheCardSaw(t *testing.T) {
	c := open(t, t.TempDir())
	wantSWs(t, c, rightPIN, apdu.SWNotAllowed, selectPIV, apdu.SWOK, queryPIN, triesLeft(10),
		wrongPIN, triesLeft(9), rightPIN, apdu.SWOK, queryPIN, apdu.SWOK,
		"00200080 04 31323334", apdu.SWWrongData,
		"00240080 10 393939393939FFFF"+newPIN, triesLeft(9),
		"00240081 10"+wrongUnlock+rightUnlock, triesLeft(9),
		"002C0080 10"+wrongUnlock+newPIN, triesLeft(8))
	c.Reset()
	c.Power()
	got := truth(t, c)
	want := Truth{
		StatusQueries: 2, Verifies: 4, UnlockVerifies: 2, Changes: 2, Resets: 2, PINLeft: 9, UnlockLeft: 8,
		Commands: map[byte]int{insSelect: 1, insVerify: 6, insChangeReferenceData: 2, insResetRetryCounter: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("truth differs: %s", diff)
	}
}
