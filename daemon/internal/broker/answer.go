package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// answer is what a record holds of the answer to a request that has a name,
// besides what the record says anyway. It is written to the log: fields may be
// added, never changed.
type answer struct {
	Meta        map[string]string `json:"meta,omitempty"` // of a refusal or failure
	Signature   []byte            `json:"signature,omitempty"`
	Certificate uint8             `json:"certificate,omitempty"` // token.CertificateState worth a warning
	Warnings    []Warning         `json:"warnings,omitempty"`
	State       uint8             `json:"state,omitempty"` // token.CardState
	PIN         *tries            `json:"pin,omitempty"`
	Unlock      *tries            `json:"unlock_code,omitempty"`
	End         bool              `json:"end,omitempty"` // the last record of a batch
}

// tries is what was believed of the tries of a secret.
type tries struct {
	Left        int  `json:"left"`
	Limit       int  `json:"limit"`
	Confirmed   bool `json:"confirmed,omitempty"`
	Unaccounted int  `json:"unaccounted,omitempty"`
	Reinsert    bool `json:"reinsert,omitempty"`
}

func triesOf(b pinguard.Belief) *tries {
	return &tries{b.Left, b.Limit, b.Confirmed, b.Unaccounted, b.Reinsert}
}

func (t *tries) belief() pinguard.Belief {
	if t == nil {
		return pinguard.Belief{}
	}
	return pinguard.Belief{Left: t.Left, Limit: t.Limit, Confirmed: t.Confirmed, Unaccounted: t.Unaccounted, Reinsert: t.Reinsert}
}

// into puts the answer into a record of a request that has a name.
func (a answer) into(rec *audit.Record) {
	if rec.Request == nil {
		return
	}
	rec.Answer, _ = json.Marshal(a) //nolint:errchkjson // strings, numbers and bytes: it cannot fail
}

// answerIn reads the answer in a record.
func answerIn(rec audit.Record) (answer, error) {
	var a answer
	if len(rec.Answer) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(rec.Answer, &a); err != nil {
		return a, token.NewError(token.KindInternal).Because(fmt.Errorf("reading the answer in record %d: %w", rec.Sequence, err))
	}
	return a, nil
}

// maxValues is how much of the values for the text of an error is kept, in
// bytes: a record of the log has its limit.
const maxValues = audit.MaxAnswer / 4

// failure is the answer that an error is.
func failure(err error) answer {
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		return answer{}
	}
	a := answer{Meta: map[string]string{}}
	room := maxValues
	for _, name := range slices.Sorted(maps.Keys(e.Meta)) {
		if room -= len(name) + len(e.Meta[name]); room >= 0 {
			a.Meta[name] = e.Meta[name]
		}
	}
	return a
}

// refusalIn is the error that was the answer.
func refusalIn(rec audit.Record) error {
	a, err := answerIn(rec)
	if err != nil {
		return err
	}
	e := token.NewError(token.Kind(rec.Code))
	for name, value := range a.Meta {
		e = e.With(name, value)
	}
	return e
}

// statusIn is the card as it was when the answer was given.
func statusIn(rec audit.Record) (CardStatus, []Warning, error) {
	a, err := answerIn(rec)
	if err != nil {
		return CardStatus{}, nil, err
	}
	return CardStatus{State: token.CardState(a.State), PIN: a.PIN.belief(), Unlock: a.Unlock.belief()}, a.Warnings, nil
}
