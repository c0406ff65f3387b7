package prompt

import (
	"context"
	"slices"
	"testing"

	"github.com/inkan-project/inkan/token"
)

func TestPromptsGoToTheActiveSeatFirst(t *testing.T) {
	const seat, elsewhere, nobodyKnows = 100, 200, 300 // and above: process ids
	place := func(_ context.Context, _ uint32, pid int32) Place {
		return map[int32]Place{seat: PlaceSeat, elsewhere: PlaceElsewhere, nobodyKnows: PlaceUnknown}[pid/100*100]
	}
	for name, tc := range map[string]struct {
		agents []int32 // the newest first
		named  bool
		place  func(context.Context, uint32, int32) Place
		want   []int32
	}{
		"one at the seat, one elsewhere":   {agents: []int32{elsewhere, seat}, place: place, want: []int32{seat}},
		"two at the seat":                  {agents: []int32{seat + 1, seat}, place: place, want: []int32{seat + 1, seat}},
		"one is known and one is not":      {agents: []int32{nobodyKnows, seat}, place: place, want: []int32{seat, nobodyKnows}},
		"all are elsewhere":                {agents: []int32{elsewhere, elsewhere + 1}, place: place},
		"a call names one elsewhere":       {agents: []int32{elsewhere}, named: true, place: place, want: []int32{elsewhere}},
		"nobody can be asked where it is":  {agents: []int32{elsewhere, seat}, want: []int32{elsewhere, seat}},
		"logind does not answer for any":   {agents: []int32{nobodyKnows + 1, nobodyKnows}, place: place, want: []int32{nobodyKnows + 1, nobodyKnows}},
		"there is no agent that could fit": {place: place},
	} {
		s := New(Config{Place: tc.place})
		var all []*agent
		for _, pid := range tc.agents {
			all = append(all, &agent{peer: Peer{UID: 1000, PID: pid}})
		}
		r := request()
		if tc.named {
			r.Agent = "named"
		}
		var got []int32
		for _, a := range s.inSight(t.Context(), r, all) {
			got = append(got, a.peer.PID)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: asked in the order %v, want %v", name, got, tc.want)
		}
	}
}

func TestAnAgentThatIsElsewhereIsNotAskedUnlessNamed(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Place = func(context.Context, uint32, int32) Place { return PlaceElsewhere }
	})
	a := h.agent(1000, promptGID, false)
	h.ask(t.Context(), request()).fails(token.KindNoPINAgent)
	r := request()
	r.Agent = a.id
	ask := h.ask(t.Context(), r)
	a.send(cancelled(a.prompted().GetPromptId()))
	ask.fails(token.KindPromptCancelled)
}
