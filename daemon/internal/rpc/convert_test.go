package rpc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

func TestUnknownTriesAreNoNumberInTheAPI(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		p := protoPIN(pinguard.Belief{Left: 7, Limit: 10, Confirmed: confirmed})
		if p.GetTriesLeft() != 7 || p.GetLimit() != 10 || p.GetTriesKnown() != confirmed {
			t.Errorf("7 of 10 tries, confirmed %t, become %v", confirmed, p)
		}
	}
	if r := protoRecord(audit.Record{Kind: audit.KindResult}); r.TriesLeft != nil {
		t.Errorf("unknown tries of a record become %d", r.GetTriesLeft())
	}
	if r := protoRecord(audit.Record{Kind: audit.KindResult, Tries: token.KnownTries(0)}); r.TriesLeft == nil {
		t.Error("no tries left become unknown")
	}
}

func TestTheStatesOfCardAndCertificateAreBothShown(t *testing.T) {
	begin := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: begin.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.NewKey("piv-00", "9a", "", private.Public(), der, token.PINOnce)
	if err != nil {
		t.Fatal(err)
	}
	for now, certificate := range map[time.Time]inkanpb.CertificateState{
		begin.AddDate(-1, 0, 0): inkanpb.CertificateState_CERTIFICATE_STATE_NOT_YET_VALID,
		begin.AddDate(0, 6, 0):  inkanpb.CertificateState_CERTIFICATE_STATE_UNKNOWN,
		begin.AddDate(2, 0, 0):  inkanpb.CertificateState_CERTIFICATE_STATE_EXPIRED,
	} {
		for card, want := range map[token.CardState]inkanpb.CardState{
			token.CardReady:       inkanpb.CardState_CARD_STATE_READY,
			token.CardLow:         inkanpb.CardState_CARD_STATE_LOW,
			token.CardHeld:        inkanpb.CardState_CARD_STATE_HELD,
			token.CardLocked:      inkanpb.CardState_CARD_STATE_LOCKED,
			token.CardDead:        inkanpb.CardState_CARD_STATE_DEAD,
			token.CardStoppedHere: inkanpb.CardState_CARD_STATE_STOPPED_HERE,
		} {
			shown := newServer(t, policy.Config{}, nil, now).protoCard(broker.CardStatus{
				Card: cardowner.Card{Keys: []token.Key{key}}, State: card,
			})
			if got := shown.GetCertificates(); shown.GetState() != want || len(got) != 1 || got[0].GetState() != certificate {
				t.Errorf("at %v: shown as %v with %v, want %v and %v", now, shown.GetState(), got, want, certificate)
			}
		}
	}
}
