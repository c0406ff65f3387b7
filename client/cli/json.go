package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// The types of this file are the JSON output. It is stable: fields are added,
// never renamed, removed or given another meaning. Lists are never null; null
// is "not there" or "not known".

type pinJSON struct {
	TriesLeft  *uint32 `json:"tries_left"`  // null = unknown
	TriesKnown bool    `json:"tries_known"` // true: the card confirmed the number; false: at most
	Limit      uint32  `json:"limit"`
	// Unaccounted tries count as spent although no verdict came.
	Unaccounted uint32 `json:"unaccounted"`
	// WaitSeconds is how long the next try must wait.
	WaitSeconds int64 `json:"wait_seconds"`
	// Reinsert is true if the card must be inserted again first.
	Reinsert bool `json:"reinsert"`
}

type certificateJSON struct {
	Subject   string     `json:"subject"`
	Issuer    string     `json:"issuer"`
	Company   string     `json:"company"`
	Holder    string     `json:"holder"`
	Serial    string     `json:"serial"`
	NotBefore *time.Time `json:"not_before"`
	NotAfter  *time.Time `json:"not_after"`
	State     string     `json:"state"`
}

type keyJSON struct {
	ID          string           `json:"id"`
	Label       string           `json:"label"`
	Algorithm   string           `json:"algorithm"` // key type, "P-256"
	Card        string           `json:"card"`
	Slot        string           `json:"slot"`
	PINPolicy   string           `json:"pin_policy"`
	Algorithms  []string         `json:"algorithms"`
	Virtual     bool             `json:"virtual"`
	Certificate *certificateJSON `json:"certificate"`
}

type noticeJSON struct {
	Code string `json:"code"`
	EN   string `json:"en"`
	JA   string `json:"ja"`
}

type serviceJSON struct {
	Version     string     `json:"version"`
	Socket      string     `json:"socket"`
	StartedAt   *time.Time `json:"started_at"`
	Virtual     bool       `json:"virtual"`
	VirtualHint string     `json:"virtual_hint"`
	PINMemory   string     `json:"pin_memory"`
	PeerCheck   string     `json:"peer_check"`
	// Missing is the lowest layer that is missing for any signature, or "".
	Missing string       `json:"missing"`
	Notices []noticeJSON `json:"notices"`
}

type readerJSON struct {
	Name        string `json:"name"`
	CardPresent bool   `json:"card_present"`
	Virtual     bool   `json:"virtual"`
	Card        string `json:"card"`
	Problem     string `json:"problem"`
	Exclusivity string `json:"exclusivity"`
}

type cardJSON struct {
	ID           string            `json:"id"`
	Serial       string            `json:"serial"`
	State        string            `json:"state"`
	PIN          pinJSON           `json:"pin"`
	UnlockCode   pinJSON           `json:"unlock_code"`
	Application  string            `json:"application"`
	Reader       string            `json:"reader"`
	Virtual      bool              `json:"virtual"`
	Company      string            `json:"company"`
	Certificates []certificateJSON `json:"certificates"`
	Notices      []noticeJSON      `json:"notices"`
}

// registeredJSON is a card of the register.
type registeredJSON struct {
	ID           string            `json:"id"`
	Serial       string            `json:"serial"`
	Application  string            `json:"application"`
	Virtual      bool              `json:"virtual"`
	Company      string            `json:"company"`
	FirstSeen    *time.Time        `json:"first_seen"`
	LastSeen     *time.Time        `json:"last_seen"`
	Present      bool              `json:"present"`
	State        string            `json:"state"`
	Stop         *stopJSON         `json:"stop"` // null = not stopped here
	Certificates []certificateJSON `json:"certificates"`
}

type stopJSON struct {
	Time   *time.Time `json:"time"`
	UID    uint32     `json:"uid"`
	Reason string     `json:"reason"`
	Record uint64     `json:"record"`
}

// changedJSON is a card that was stopped or lifted.
type changedJSON struct {
	Card   string `json:"card"`
	Record uint64 `json:"record"`
}

type statusJSON struct {
	Sequence *uint64      `json:"sequence,omitempty"` // with --watch
	Service  serviceJSON  `json:"service"`
	Readers  []readerJSON `json:"readers"`
	Cards    []cardJSON   `json:"cards"`
}

type signJSON struct {
	Signature []byte   `json:"signature"` // base64
	Record    uint64   `json:"record"`
	Warnings  []string `json:"warnings"`
	Key       string   `json:"key"`
	Algorithm string   `json:"algorithm"`
}

// manyJSON is what became of each of many documents.
type manyJSON struct {
	Documents []manyDocumentJSON `json:"documents"`
	Key       string             `json:"key"`
	Algorithm string             `json:"algorithm"`
}

type manyDocumentJSON struct {
	Document  string  `json:"document"`
	State     string  `json:"state"`               // "signed", "signed, not saved", "not signed" or "unknown"
	Signature string  `json:"signature,omitempty"` // the file that holds it
	Record    *uint64 `json:"record,omitempty"`
}

// printJSON writes one value, indented unless it is one of a stream.
func (a *app) printJSON(v any, stream bool) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if !stream {
		e.SetIndent("", "  ")
	}
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encoding JSON: %w", err)
	}
	if _, err := a.stdout.Write(escaped(b.Bytes())); err != nil {
		return outputError(err)
	}
	return nil
}

// escaped writes the characters that JSON allows in a string and a terminal
// obeys (U+009B, DEL, changes of writing direction) as \uXXXX, in UTF-16 (RFC
// 8259 section 7). Outside of strings there is only ASCII and the newline.
func escaped(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r == '\n' || words.Printable(r):
			out = utf8.AppendRune(out, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func pinToJSON(p *inkanpb.PinStatus) pinJSON {
	if p == nil {
		return pinJSON{}
	}
	return pinJSON{
		TriesLeft: p.TriesLeft, TriesKnown: p.TriesLeft != nil && p.GetTriesKnown(), Limit: p.GetLimit(),
		Unaccounted: p.GetUnaccounted(), WaitSeconds: seconds(p), Reinsert: p.GetReinsert(),
	}
}

func certificateToJSON(c *inkanpb.Certificate) *certificateJSON {
	if c == nil {
		return nil
	}
	return &certificateJSON{
		Subject: c.GetSubject(), Issuer: c.GetIssuer(), Company: c.GetCompany(), Holder: c.GetHolder(), Serial: c.GetSerial(),
		NotBefore: rfc3339(c.GetNotBefore()), NotAfter: rfc3339(c.GetNotAfter()), State: certificateStateWord(c.GetState()),
	}
}

func keyToJSON(k *inkanpb.Key) keyJSON {
	algorithms := make([]string, 0, len(k.GetAlgorithms()))
	for _, alg := range k.GetAlgorithms() {
		algorithms = append(algorithms, client.AlgorithmName(alg))
	}
	return keyJSON{
		ID: k.GetId(), Label: k.GetLabel(), Algorithm: k.GetType(), Card: k.GetCardId(), Slot: k.GetSlot(),
		PINPolicy: pinPolicyWord(k.GetPinPolicy()), Algorithms: algorithms, Virtual: k.GetVirtual(),
		Certificate: certificateToJSON(k.GetCertificate()),
	}
}

func statusToJSON(s *inkanpb.Status, socket string) statusJSON {
	service := s.GetService()
	out := statusJSON{
		Service: serviceJSON{
			Version: service.GetVersion(), Socket: socket, StartedAt: rfc3339(service.GetStartedAt()),
			Virtual: service.GetVirtual(), VirtualHint: service.GetVirtualHint(), Missing: missingWord(service.GetMissing()),
			PINMemory: service.GetPinMemory(), PeerCheck: service.GetPeerCheck(), Notices: noticesToJSON(service.GetNotices()),
		},
		Readers: []readerJSON{}, Cards: []cardJSON{},
	}
	for _, r := range s.GetReaders() {
		out.Readers = append(out.Readers, readerJSON{r.GetName(), r.GetCardPresent(), r.GetVirtual(), r.GetCardId(), r.GetProblem(), exclusivityWord(r.GetExclusivity())})
	}
	for _, c := range s.GetCards() {
		card := cardJSON{
			ID: c.GetId(), Serial: c.GetSerial(), State: cardStateWord(c.GetState()), PIN: pinToJSON(c.GetPin()), UnlockCode: pinToJSON(c.GetUnlockCode()),
			Application: c.GetApplication(), Reader: c.GetReader(), Virtual: c.GetVirtual(), Company: c.GetCompany(),
			Certificates: certificatesToJSON(c.GetCertificates()), Notices: noticesToJSON(c.GetNotices()),
		}
		out.Cards = append(out.Cards, card)
	}
	return out
}

func registeredToJSON(c *inkanpb.RegisteredCard) registeredJSON {
	out := registeredJSON{
		ID: c.GetId(), Serial: c.GetSerial(), Application: c.GetApplication(), Virtual: c.GetVirtual(), Company: c.GetCompany(),
		FirstSeen: rfc3339(c.GetFirstSeen()), LastSeen: rfc3339(c.GetLastSeen()), Present: c.GetPresent(),
		State: cardStateWord(c.GetState()), Certificates: certificatesToJSON(c.GetCertificates()),
	}
	if s := c.GetStop(); s != nil {
		out.Stop = &stopJSON{Time: rfc3339(s.GetTime()), UID: s.GetUid(), Reason: s.GetReason(), Record: s.GetRecord()}
	}
	return out
}

func certificatesToJSON(certificates []*inkanpb.Certificate) []certificateJSON {
	out := make([]certificateJSON, 0, len(certificates))
	for _, c := range certificates {
		out = append(out, *certificateToJSON(c))
	}
	return out
}

func noticesToJSON(notices []*inkanpb.ServiceNotice) []noticeJSON {
	out := make([]noticeJSON, 0, len(notices))
	for _, n := range notices {
		out = append(out, noticeJSON{n.GetCode(), n.GetEn(), n.GetJa()})
	}
	return out
}
