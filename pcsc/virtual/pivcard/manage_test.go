package pivcard

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// run sends a command and collects its answer, in short form.
func run(t testing.TB, c *Card, command apdu.Command) apdu.Response {
	t.Helper()
	r, err := apdu.Exchange(t.Context(), wire{c}, command, apdu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// template wraps tags and values as a dynamic authentication template.
func template(pairs ...any) []byte {
	var b []byte
	for i := 0; i+1 < len(pairs); i += 2 {
		tag, _ := pairs[i].(int)
		value, _ := pairs[i+1].([]byte)
		b = apdu.AppendTLV(b, uint32(tag), value)
	}
	return apdu.AppendTLV(nil, tagTemplate, b)
}

func adminCommand(a AdminAlgorithm, data []byte) apdu.Command {
	return apdu.Command{INS: insGeneralAuthenticate, P1: byte(a), P2: refAdmin, Data: data, Ne: 256}
}

func block(t testing.TB, a AdminAlgorithm, key []byte) cipher.Block {
	t.Helper()
	b, err := a.cipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prove is mutual authentication as a management program does it.
func prove(t testing.TB, c *Card, a AdminAlgorithm, key []byte) apdu.SW {
	t.Helper()
	b := block(t, a, key)
	r := run(t, c, adminCommand(a, template(tagWitness, nil)))
	if r.SW != apdu.SWOK {
		return r.SW
	}
	witness, err := apdu.Find(r.Data, tagTemplate, tagWitness)
	if err != nil || len(witness) != b.BlockSize() {
		t.Fatalf("witness %x: %v", witness, err)
	}
	b.Decrypt(witness, witness)
	challenge := make([]byte, b.BlockSize())
	_, _ = rand.Read(challenge)
	r = run(t, c, adminCommand(a, template(tagWitness, witness, tagChallenge, challenge)))
	if r.SW == apdu.SWOK {
		response, _ := apdu.Find(r.Data, tagTemplate, tagResponse)
		b.Encrypt(challenge, challenge)
		if !bytes.Equal(response, challenge) {
			t.Errorf("the card proves itself with %x, want %x", response, challenge)
		}
	}
	return r.SW
}

// newManaged returns a card whose management key was proved.
func newManaged(t testing.TB) *Card {
	t.Helper()
	c := newCard(t)
	if sw := prove(t, c, AdminTDEA, DemoAdminKey(AdminTDEA)); sw != apdu.SWOK {
		t.Fatalf("management key: %s", sw)
	}
	return c
}

func put(t testing.TB, c *Card, tag string, content []byte) apdu.SW {
	t.Helper()
	data := apdu.AppendTLV(apdu.AppendTLV(nil, 0x5C, unhex(t, tag)), tagObject, content)
	return run(t, c, apdu.Command{INS: insPutData, P1: 0x3F, P2: 0xFF, Data: data}).SW
}

func get(t testing.TB, c *Card, tag string) ([]byte, apdu.SW) {
	t.Helper()
	r := run(t, c, apdu.Command{INS: insGetData, P1: 0x3F, P2: 0xFF, Data: apdu.AppendTLV(nil, 0x5C, unhex(t, tag)), Ne: 256})
	content, _ := apdu.Find(r.Data, tagObject)
	return content, r.SW
}

func generateKey(t testing.TB, c *Card, slot Slot, keyType KeyType) apdu.Response {
	t.Helper()
	control := apdu.AppendTLV(nil, tagControl, apdu.AppendTLV(nil, tagMechanism, []byte{byte(keyType)}))
	return run(t, c, apdu.Command{INS: insGenerate, P2: byte(slot), Data: control, Ne: 256})
}

func TestManagementKeyOfEachAlgorithm(t *testing.T) {
	for _, a := range []AdminAlgorithm{AdminTDEA, AdminAES128, AdminAES192, AdminAES256} {
		t.Run(fmt.Sprintf("%02X", byte(a)), func(t *testing.T) {
			c, err := Open(Options{Dir: t.TempDir(), Keys: map[Slot]KeyType{}, Admin: a})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantSW(t, c, selectPIV, apdu.SWOK)
			wrong := bytes.Repeat([]byte{9}, a.keyLength())
			if sw := prove(t, c, a, wrong); sw != apdu.SWSecurityStatus {
				t.Errorf("wrong key: %s, want 6982", sw)
			}
			if sw := put(t, c, "5FC109", []byte("x")); sw != apdu.SWSecurityStatus {
				t.Errorf("PUT DATA without the key: %s, want 6982", sw)
			}
			if sw := prove(t, c, a, DemoAdminKey(a)); sw != apdu.SWOK {
				t.Errorf("right key: %s, want 9000", sw)
			}
			if sw := put(t, c, "5FC109", []byte("x")); sw != apdu.SWOK {
				t.Errorf("PUT DATA with the key: %s, want 9000", sw)
			}
			if got := truth(t, c); got.Admissions != 2 || got.Changed != 1 || got.PINLeft != Tries {
				t.Errorf("truth %+v, want two proofs, one change and no try spent", got)
			}
			c.Reset()
			wantSW(t, c, selectPIV, apdu.SWOK)
			if sw := put(t, c, "5FC109", []byte("x")); sw != apdu.SWSecurityStatus {
				t.Errorf("PUT DATA after a reset: %s, want 6982", sw)
			}
		})
	}
}

func TestManagementKeyByChallenge(t *testing.T) {
	c := newCard(t)
	b := block(t, AdminTDEA, DemoAdminKey(AdminTDEA))
	ask := func(p1 AdminAlgorithm) []byte {
		r := run(t, c, adminCommand(p1, template(tagChallenge, nil)))
		challenge, err := apdu.Find(r.Data, tagTemplate, tagChallenge)
		if err != nil || len(challenge) != 8 {
			t.Fatalf("challenge %x, %s: %v", challenge, r.SW, err)
		}
		return challenge
	}
	challenge := ask(0) // the other name of 3DES
	answer := make([]byte, 8)
	b.Encrypt(answer, challenge)
	if r := run(t, c, adminCommand(AdminTDEA, template(tagResponse, answer))); r.SW != apdu.SWOK {
		t.Errorf("right answer: %s, want 9000", r.SW)
	}
	if r := run(t, c, adminCommand(AdminTDEA, template(tagResponse, answer))); r.SW != apdu.SWWrongData {
		t.Errorf("the same answer again: %s, want 6A80: there is no challenge any more", r.SW)
	}
	ask(AdminTDEA)
	if r := run(t, c, adminCommand(AdminTDEA, template(tagResponse, answer))); r.SW != apdu.SWSecurityStatus {
		t.Errorf("an old answer: %s, want 6982", r.SW)
	}
	if sw := put(t, c, "5FC109", []byte("x")); sw != apdu.SWSecurityStatus {
		t.Errorf("PUT DATA after a wrong answer: %s, want 6982", sw)
	}
	for name, command := range map[string]apdu.Command{
		"other algorithm":        adminCommand(AdminAES128, template(tagWitness, nil)),
		"nothing asked":          adminCommand(AdminTDEA, template(tagWitness, answer, tagChallenge, answer)),
		"empty template":         adminCommand(AdminTDEA, template()),
		"no template":            adminCommand(AdminTDEA, nil),
		"answer without asking":  adminCommand(AdminTDEA, template(tagResponse, answer)),
		"a short host challenge": adminCommand(AdminTDEA, template(tagWitness, answer, tagChallenge, []byte{1})),
	} {
		if r := run(t, c, command); r.SW == apdu.SWOK {
			t.Errorf("%s: 9000", name)
		}
	}
}

func TestManagementKeyCanBeChanged(t *testing.T) {
	c := newManaged(t)
	fresh := bytes.Repeat([]byte{0xA5}, 32)
	set := apdu.Command{INS: insSetAdminKey, P1: 0xFF, P2: 0xFF, Data: append([]byte{byte(AdminAES256), refAdmin, 32}, fresh...)}
	for name, change := range map[string]func(*apdu.Command){
		"length that does not fit": func(c *apdu.Command) { c.Data = c.Data[:20] },
		"another key":              func(c *apdu.Command) { c.Data = append([]byte{byte(AdminAES256), 0x9A}, c.Data[2:]...) },
		"no such algorithm":        func(c *apdu.Command) { c.Data = append([]byte{0x55}, c.Data[1:]...) },
		"touch wanted":             func(c *apdu.Command) { c.P2 = 0xFE },
	} {
		bad := set
		change(&bad)
		if r := run(t, c, bad); r.SW == apdu.SWOK {
			t.Errorf("%s: 9000", name)
		}
	}
	if r := run(t, c, set); r.SW != apdu.SWOK {
		t.Fatalf("SET MANAGEMENT KEY: %s", r.SW)
	}
	_ = c.Close()
	again := open(t, c.options.Dir)
	wantSW(t, again, selectPIV, apdu.SWOK)
	if r := run(t, again, set); r.SW != apdu.SWSecurityStatus {
		t.Errorf("SET MANAGEMENT KEY without the old one: %s, want 6982", r.SW)
	}
	if sw := prove(t, again, AdminTDEA, DemoAdminKey(AdminTDEA)); sw != apdu.SWIncorrectP1P2 {
		t.Errorf("old key: %s, want 6A86", sw)
	}
	if sw := prove(t, again, AdminAES256, fresh); sw != apdu.SWOK {
		t.Errorf("new key: %s, want 9000", sw)
	}
	stored, _ := os.ReadFile(filepath.Join(c.options.Dir, profileName))
	if bytes.Contains(stored, []byte("paWlpaWl")) { // base64 of A5 A5 A5
		t.Error("the management key stands in card.json")
	}
}

func TestObjectsArePutReadAndDeleted(t *testing.T) {
	c := newManaged(t)
	long := bytes.Repeat([]byte{7}, 3000) // by chaining
	for _, tag := range []string{"5FC105", "5FC10B", "5FC106", "5FC107", "5FFF00"} {
		if sw := put(t, c, tag, long); sw != apdu.SWOK {
			t.Errorf("putting %s: %s", tag, sw)
		}
		if got, sw := get(t, c, tag); !bytes.Equal(got, long) {
			t.Errorf("%s gives %d bytes, %s", tag, len(got), sw)
		}
	}
	_ = c.Close()
	c = open(t, c.options.Dir)
	wantSW(t, c, selectPIV, apdu.SWOK)
	if got, _ := get(t, c, "5FC10B"); !bytes.Equal(got, long) {
		t.Errorf("after reopening 5FC10B gives %d bytes", len(got))
	}
	if sw := prove(t, c, AdminTDEA, DemoAdminKey(AdminTDEA)); sw != apdu.SWOK {
		t.Fatal(sw)
	}
	if sw := put(t, c, "5FC10B", nil); sw != apdu.SWOK {
		t.Errorf("deleting: %s", sw)
	}
	if _, sw := get(t, c, "5FC10B"); sw != apdu.SWNotFound {
		t.Errorf("a deleted object answers %s, want 6A82", sw)
	}
	for tag, want := range map[string]apdu.SW{"5FC102": apdu.SWNotSupported, "7E": apdu.SWNotSupported, "0101": apdu.SWNotSupported} {
		if sw := put(t, c, tag, []byte("x")); sw != want {
			t.Errorf("putting %s: %s, want %s", tag, sw, want)
		}
	}
	if sw := put(t, c, "5FC106", make([]byte, maxObject+1)); sw == apdu.SWOK {
		t.Error("an object too long was put")
	}
	for i := range 2 * maxObjects {
		if sw := put(t, c, fmt.Sprintf("5FFF%02X", 0x10+i%0xE0), []byte("x")); sw == swNoRoom {
			return
		}
	}
	t.Error("the card takes objects without end")
}

func TestCapabilityAndKeyHistoryAreThoseOfPIV(t *testing.T) {
	c := newCard(t)
	want := append(unhex(t, "F015 A000000116FF02"), c.GUID()[2:]...)
	want = append(want, unhex(t, "F10121 F20121 F300 F40100 F50110 F600 F700 FA00 FB00 FC00 FD00 FE00")...)
	if got, _ := get(t, c, "5FC107"); !bytes.Equal(got, want) {
		t.Errorf("capability container %x, want %x", got, want)
	}
	if got, _ := get(t, c, "5FC10C"); !bytes.Equal(got, unhex(t, "C10100 C20100 FE00")) {
		t.Errorf("key history %x", got)
	}
}

func TestCardOfVersionOneBecomesOneOfVersionTwo(t *testing.T) {
	c := newCard(t)
	wantSWs(t, c, wrongPIN, triesLeft(9), wrongPIN, triesLeft(8))
	dir, certificate := c.options.Dir, c.Certificate(SlotSignature)
	old := c.profile.clone()
	old.Version, old.AdminKey, old.Objects = profileVersionFirst, adminKey{}, nil
	for i, k := range old.Keys {
		old.Keys[i].Certificate = c.profile.certificate(k.Slot)
	}
	_ = c.Close()
	if err := writeProfile(dir, old); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	wantSWs(t, again, selectPIV, apdu.SWOK, queryPIN, triesLeft(8), rightPIN, apdu.SWOK)
	if diff := cmp.Diff(certificate, again.Certificate(SlotSignature)); diff != "" {
		t.Errorf("another certificate: %s", diff)
	}
	if sw := prove(t, again, AdminTDEA, DemoAdminKey(AdminTDEA)); sw != apdu.SWOK {
		t.Errorf("management key: %s", sw)
	}
	if sw := put(t, again, "5FC109", []byte("x")); sw != apdu.SWOK {
		t.Errorf("PUT DATA: %s", sw)
	}
	if p, err := readProfile(dir); err != nil || p.Version != profileVersion || p.Keys[0].Certificate != nil {
		t.Errorf("on disk is version %d, %v", p.Version, err)
	}
}

func TestKillDuringAChangeLeavesOldOrNew(t *testing.T) {
	for step := range 3 { // 0, 1: the record; 2 lives
		c := newManaged(t)
		c.truth.file = &dyingFile{appender: c.truth.file, left: step, half: true}
		sw := put(t, c, "5FC109", []byte("x"))
		_ = c.Close()
		again := open(t, c.options.Dir)
		wantSW(t, again, selectPIV, apdu.SWOK)
		_, found := get(t, again, "5FC109")
		if (sw == apdu.SWOK) != (found == apdu.SWOK) || (step == 2) != (sw == apdu.SWOK) {
			t.Errorf("killed at step %d: answered %s, then %s", step, sw, found)
		}
	}
}
