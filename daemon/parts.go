package daemon

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/daemon/internal/blackbox"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/logind"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/daemon/internal/rpc"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
)

// VirtualHint is said wherever a virtual card is shown.
const VirtualHint = "仮想カード / virtual card: PIN " + pivcard.DemoPIN + ", unlock code " + pivcard.DemoUnlockCode

// readers returns where readers come from, and how to close it. stuck is
// called when so many calls to pcscd hang that the service must start anew.
func readers(o Options, stuck func(error)) (pcsc.System, func() error, error) {
	switch {
	case o.System != nil:
		return o.System, func() error { return nil }, nil
	case !o.Virtual:
		service := pcsc.NewService(pcsc.Config{Timeout: time.Duration(o.Config.Card.CommandTimeout), Stuck: stuck})
		return service, service.Close, nil
	}
	layout, err := o.Config.Virtual.layout()
	if err != nil {
		return nil, nil, err
	}
	card, err := pivcard.Open(pivcard.Options{Dir: filepath.Join(o.Config.StateDir, "virtual-card"), Keys: layout})
	if err != nil {
		return nil, nil, fmt.Errorf("making the virtual card: %w", err)
	}
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, card); err != nil {
		return nil, nil, err
	}
	return system, card.Close, nil
}

// layout reads which keys the virtual card is made with; nil = its default.
func (c VirtualConfig) layout() (map[pivcard.Slot]pivcard.KeyType, error) {
	if len(c.Keys) == 0 {
		return nil, nil
	}
	var parts []string
	for slot, keyType := range c.Keys {
		parts = append(parts, slot+"="+keyType)
	}
	slices.Sort(parts)
	layout, err := pivcard.ParseKeys(strings.Join(parts, ","))
	if err != nil {
		return nil, invalid("virtual.keys: %v", err)
	}
	return layout, nil
}

// applications are the kinds of card that inkand knows.
func applications(profiles *cardprofile.Set, box *blackbox.Recorder) []cardowner.Application {
	const name = cardprofile.PIV
	return []cardowner.Application{{
		Name:    name,
		Profile: func(atr []byte, card token.CardID) token.Profile { return profiles.For(name, atr, card) },
		Open: func(card cardowner.Connection, profile token.Profile) token.Token {
			return piv.Open(box.Card(card, name), piv.FromProfile(profile))
		},
	}}
}

// prompts returns where PIN agents connect.
func (o Options) prompts(pages prompt.PINReader, rules *policy.Policy, login *logind.Conn) (*prompt.Server, error) {
	gid, err := groupID(o.Config.PromptGroup)
	if err != nil {
		return nil, err
	}
	return prompt.New(prompt.Config{
		PINs: pages, PromptGID: gid, Identify: identifyAgent(rules, gid, o.Config.PIN.TrustedAgents),
		Place: agentPlace(login), Logger: o.Logger,
	}), nil
}

// identifyAgent says who connected to the PIN socket, and refuses those for
// whom no prompt can ever come: they must not take the places of others.
func identifyAgent(rules *policy.Policy, promptGID *uint32, trusted []string) func(*net.UnixConn) (prompt.Peer, error) {
	return func(conn *net.UnixConn) (prompt.Peer, error) {
		c, err := peer.FromConn(conn)
		if err != nil {
			return prompt.Peer{}, err
		}
		groups := c.AllGroups()
		if promptGID != nil && c.GID == *promptGID {
			groups = append(groups, primaryGroup(c.UID)...) // its own took the place of the user's
		}
		roles := rules.Roles(policy.Subject{UID: c.UID, Groups: groups})
		if !roles.Has(policy.RoleSigner) {
			c.Close()
			return prompt.Peer{}, fmt.Errorf("uid %d is no signer", c.UID)
		}
		return prompt.Peer{
			UID: c.UID, GID: c.GID, PID: c.PID, Alive: c.Alive, Close: c.Close,
			Trusted: isTrusted(c, trusted),
		}, nil
	}
}

// login returns what hears of sleep. Nothing is called before it runs.
func (o Options) login(cards func() *cardowner.Owner) *logind.Conn {
	return logind.New(logind.Config{
		Sleep: func(ctx context.Context) { cards().Sleep(ctx) }, Wake: func() { cards().Wake() }, Logger: o.Logger,
	})
}

// agentPlace says where the user of an agent would see its prompt.
func agentPlace(login *logind.Conn) func(context.Context, uint32, int32) prompt.Place {
	places := map[logind.Place]prompt.Place{logind.PlaceSeat: prompt.PlaceSeat, logind.PlaceElsewhere: prompt.PlaceElsewhere}
	return func(ctx context.Context, uid uint32, pid int32) prompt.Place {
		return places[login.Place(ctx, uid, pid)]
	}
}

// isTrusted reports whether a process runs one of the programs that the
// configuration lists. The path that the kernel shows for it does not count:
// see [peer.Caller.Program].
func isTrusted(c *peer.Caller, trusted []string) bool {
	return slices.ContainsFunc(trusted, func(path string) bool {
		return checkExecutable(path) == nil && c.Runs(path)
	}) && c.SeesOurProcesses()
}

// primaryGroup returns the primary group of a user, none if it is not known.
func primaryGroup(uid uint32) []uint32 {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil
	}
	return []uint32{uint32(gid)}
}

// service says what status shows of the service itself.
func (o Options) service(pinMemory string, rec records) func() *inkanpb.ServiceStatus {
	started := timestamppb.New(o.Now().Truncate(time.Second))
	return func() *inkanpb.ServiceStatus {
		s := &inkanpb.ServiceStatus{
			Version: o.Version, StartedAt: started, Virtual: o.Virtual,
			PinMemory: pinMemory, PeerCheck: peer.Mode(),
		}
		if o.Virtual {
			s.VirtualHint = VirtualHint
		}
		for _, err := range []error{rec.guard.Err(), rec.log.Err()} {
			if err != nil {
				s.Notices = append(s.Notices, rpc.Notice(token.NewError(token.KindOf(err))))
			}
		}
		if rec.found.Copied != "" {
			s.Notices = append(s.Notices, rpc.Notice(token.NewError(token.KindStateCopied)))
		}
		return s
	}
}
