package faults

import (
	"slices"

	fp "github.com/inkan-project/inkan/daemon/internal/failpoint"
)

// points are moments in the order of a call.
type points []fp.Point

// mustHit returns the points at which inkand must have died in a scene, by act
// and card. What is not listed cannot be reached, or is reached in another
// scene with nothing that differs.
func mustHit(act, card string) points {
	switch act {
	case "sign-9a", "sign-9c", "verify", "change", "unlock":
		return withSecret(act, card)
	case "sign-9e":
		return withoutSecret(card)
	case "sign-9a-later":
		if card == "right" {
			return points{fp.BeforeConnect, fp.Connected}
		}
	case "stop":
		return slices.Concat(called(), points{fp.StopSet}, event(), points{fp.HalfAnswer})
	case "lift":
		return slices.Concat(called(), event(), points{fp.HalfAnswer})
	case "acknowledge", "acknowledge-as-administrator":
		if card == "silent" { // no other can be held
			return slices.Concat(called(), event(), points{fp.HalfAnswer})
		}
	case "start":
		if card == "right" {
			return points{fp.MarkAlone, fp.EventAlone, fp.BeforeConnect, fp.Connected}
		}
	case "recovery":
		if card == "right" {
			return slices.Concat(points{fp.HalfVerdict, fp.VerdictAlone, fp.ResultAlone}, event())
		}
	}
	return nil
}

// withSecret are the points of a use of the card with a PIN or unlock code.
func withSecret(act, card string) points {
	knownBlocked := card == "blocked" && act != "unlock"
	if knownBlocked { // refused before anybody is asked
		return slices.Concat(called(), points{fp.MarkAlone, fp.EventAlone, fp.CardReset})
	}
	all := slices.Concat(called(), points{fp.BeforePrompt, fp.Entered})
	if act == "change" || act == "unlock" {
		all = append(all, fp.NewEntered)
	}
	all = slices.Concat(all, leased(), points{fp.BeforeIntent, fp.HalfDebit, fp.DebitWritten, fp.DebitAlone, fp.IntentAlone, fp.BeforeSecret, fp.SecretSent})
	right := card == "right" || act == "unlock" && (card == "blocked" || card == "mute-blocked")
	switch {
	case !right:
		all = append(all, fp.SecretWrong)
	case act == "sign-9a" || act == "sign-9c":
		all = slices.Concat(all, points{fp.SecretRight}, signed())
	default:
		all = append(all, fp.SecretRight)
	}
	all = slices.Concat(all, points{fp.HalfVerdict}, recorded())
	if right {
		all = append(all, fp.HalfAnswer)
	}
	return all
}

// withoutSecret are the points of a signature without a PIN.
func withoutSecret(card string) points {
	all := slices.Concat(called(), leased(), points{fp.BeforeIntent, fp.DebitAlone, fp.IntentAlone, fp.BeforeSecret})
	switch card {
	case "wrong": // nobody is asked: as with a right one
		return nil
	case "silent":
		return slices.Concat(all, points{fp.SignSent}, recorded())
	case "blocked": // its count is lower than ours, which is an event
		all = slices.Concat(all, event())
	}
	return slices.Concat(all, signed(), recorded(), points{fp.HalfAnswer})
}

func called() points   { return points{fp.Accepted, fp.Identified, fp.Allowed} }
func leased() points   { return points{fp.Queued, fp.Selected, fp.TriesRead} }
func signed() points   { return points{fp.SignSent, fp.Signed, fp.Checked} }
func recorded() points { return points{fp.VerdictAlone, fp.ResultAlone, fp.Recorded, fp.CardReset} }
func event() points    { return points{fp.MarkAlone, fp.EventAlone, fp.EventDone} }
