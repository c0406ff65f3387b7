package inkan_test

import "slices"

// The rules as data. Patterns are as the go command writes them: "./a" is one
// package of this module, "./a/..." all from there down. To let something in,
// change a row here and say why in docs/decisions.

// leaves are the parts of the daemon that do not know each other.
var leaves = []string{"audit", "certstatus", "journald", "logind", "peer", "pinguard", "policy", "prompt", "register", "requests", "sdunit", "unixsock"}

// domain is what everything in the daemon may speak: the words, and the page
// a PIN lives in.
var domain = []string{"./token", "./token/pinpage"}

// insides is what the insides of the daemon may name besides: the moments at
// which tests kill it. A release has nothing of them.
var insides = append([]string{"./daemon/internal/failpoint"}, domain...)

// rooms say which arrows between our own packages exist.
var rooms = append(leafRooms(), []room{
	{
		of:  []string{"."},
		why: "the root holds the map and the tests of the house, no code",
		bad: [2]string{".", "./token"},
	},
	{
		of:  []string{"./proto/..."},
		may: []string{"./proto/..."},
		why: "the contract depends on nothing of ours: everybody may depend on it",
		bad: [2]string{"./proto/inkan/v1", "./token"},
	},
	{
		of:  []string{"./pcsc", "./pcsc/apdu"},
		why: "readers and APDUs are the bottom: they know no token, no PIN guard, no daemon",
		bad: [2]string{"./pcsc/apdu", "./token"},
	},
	{
		of:  []string{"./pcsc/virtual/...", "./pcsc/pcsctest/..."},
		may: []string{"./pcsc/..."},
		why: "the virtual card is the referee of our tests: it must share no code with what it judges",
		bad: [2]string{"./pcsc/virtual/pivcard", "./token"},
	},
	{
		of:  []string{"./token"},
		why: "the domain knows nothing below or above it",
		bad: [2]string{"./token", "./pcsc"},
	},
	{
		of:  []string{"./token/pinpage/..."},
		may: []string{"./token"},
		why: "the page of a PIN is a small part of the domain",
		bad: [2]string{"./token/pinpage", "./pcsc"},
	},
	{
		of:  []string{"./token/cardprofile/..."},
		may: []string{"./token"},
		why: "what is known of a kind of card is data of the domain: it names no card, no reader and no kind of token",
		bad: [2]string{"./token/cardprofile", "./token/piv"},
	},
	{
		of:  []string{"./token/p11/..."},
		may: append([]string{"./token/p11/...", "./token/tokentest", "./pcsc", "./pcsc/apdu"}, domain...),
		why: "a module runs in a process of token/p11's; no other kind of token and no daemon",
		bad: [2]string{"./token/p11", "./daemon/internal/pinguard"},
	},
	{
		of:  []string{"./token/piv/...", "./token/tokentest/..."},
		may: append([]string{"./token/tokentest", "./pcsc", "./pcsc/apdu"}, domain...),
		why: "a kind of token knows the domain and the reader, no other kind and no daemon",
		bad: [2]string{"./token/piv", "./daemon/internal/pinguard"},
	},
	{
		of:  []string{"./daemon/internal/cardowner/..."},
		may: append([]string{"./daemon/internal/cardowner/...", "./pcsc", "./pcsc/apdu", "./token/piv", "./token/p11"}, insides...),
		why: "the owner of a card moves bytes for whoever holds the lease; it decides nothing",
		bad: [2]string{"./daemon/internal/cardowner", "./daemon/internal/policy"},
	},
	{
		of:  []string{"./daemon/internal/blackbox"},
		may: []string{"./pcsc", "./pcsc/apdu"},
		why: "what is kept for support comes from readers and the log; it knows no PIN, no card, no leaf",
		bad: [2]string{"./daemon/internal/blackbox", "./token"},
	},
	{
		of:  []string{"./daemon/internal/cardreport/..."},
		may: append([]string{"./daemon/internal/cardreport/...", "./pcsc", "./pcsc/apdu", "./token/p11", "./token/p11/frame"}, domain...),
		why: "a report looks at cards while no inkand runs: it knows no part of one, and nothing that sends a PIN",
		bad: [2]string{"./daemon/internal/cardreport", "./daemon/internal/broker"},
	},
	{
		of:  []string{"./daemon/internal/store/..."},
		may: slices.Concat([]string{"./daemon/internal/store/..."}, leafPaths(), domain),
		why: "the store implements what the leaves declare and is asked by nobody else",
		bad: [2]string{"./daemon/internal/store", "./daemon/internal/broker"},
	},
	{
		of:  []string{"./daemon/internal/broker/..."},
		may: slices.Concat([]string{"./daemon/internal/broker/...", "./daemon/internal/cardowner"}, leafPaths(), insides),
		why: "the broker is pure use cases: no wire format, no SQL, no PC/SC, no kind of token",
		bad: [2]string{"./daemon/internal/broker", "./proto/inkan/v1"},
	},
	{
		of:  []string{"./daemon/internal/rpc/..."},
		may: slices.Concat([]string{"./daemon/internal/rpc/...", "./daemon/internal/broker", "./daemon/internal/cardowner", "./proto/..."}, leafPaths(), insides),
		why: "a handler translates and calls the broker; it touches neither readers nor the store",
		bad: [2]string{"./daemon/internal/rpc", "./daemon/internal/store"},
	},
	{
		of:  []string{"./daemon/internal/messagetest"},
		why: "making a message needs its descriptor alone",
		bad: [2]string{"./daemon/internal/messagetest", "./proto/inkan/v1"},
	},
	{
		of:  []string{"./daemon/internal/configpage"},
		why: "the reference of the configuration comes from its comments alone",
		bad: [2]string{"./daemon/internal/configpage", "./daemon"},
	},
	{
		of:  []string{"./daemon/cmd/inkan-configpages"},
		may: []string{"./daemon/internal/configpage"},
		why: "main only calls a tested function",
		bad: [2]string{"./daemon/cmd/inkan-configpages", "./daemon"},
	},
	{
		of:  []string{"./daemon/internal/failpoint"},
		why: "naming a moment needs nothing",
		bad: [2]string{"./daemon/internal/failpoint", "./token"},
	},
	{
		of:  []string{"./daemon"},
		may: []string{"./daemon/internal/...", "./pcsc/...", "./token/...", "./proto/..."},
		why: "the composition root joins the daemon's parts and needs no client",
		bad: [2]string{"./daemon", "./client"},
	},
	{
		of:  []string{"./daemon/daemontest/...", "./daemon/pcscdtest/...", "./daemon/processtest/...", "./daemon/loadtest/..."},
		may: []string{"./daemon", "./daemon/internal/...", "./daemon/daemontest/...", "./client", "./pcsc/...", "./token/...", "./proto/..."},
		why: "the test kit runs the daemon and its client in one process, without their mains",
		bad: [2]string{"./daemon/daemontest", "./client/cli"},
	},
	{
		of:  []string{"./daemon/faults/..."},
		may: []string{"./daemon", "./daemon/internal/...", "./daemon/faults/...", "./daemon/daemontest", "./client", "./pcsc/...", "./token/...", "./proto/..."},
		why: "the fault catalogue breaks the daemon's parts and its process, and asks the virtual card what happened",
		bad: [2]string{"./daemon/faults", "./client/cli"},
	},
	{
		of:  []string{"./daemon/cmd/inkan-faults"},
		may: []string{"./daemon/faults"},
		why: "main only calls a tested function",
		bad: [2]string{"./daemon/cmd/inkan-faults", "./daemon"},
	},
	{
		of:  []string{"./daemon/helpdesk/..."},
		may: []string{"./daemon/helpdesk/...", "./proto/...", "./client", "./token"},
		why: "the helpdesk console is a process of its own, a client of inkand",
		bad: [2]string{"./daemon/helpdesk", "./daemon/internal/store"},
	},
	{
		of:  []string{"./daemon/cmd/inkand"},
		may: []string{"./daemon"},
		why: "main only calls a tested function",
		bad: [2]string{"./daemon/cmd/inkand", "./daemon/internal/rpc"},
	},
	{
		of:  []string{"./client", "./client/internal/..."},
		may: []string{"./proto/...", "./client/..."},
		why: "an app that imports the client gets the contract and nothing of the daemon",
		bad: [2]string{"./client", "./token"},
	},
	{
		of:  []string{"./client/clienttest/..."},
		may: []string{"./client/...", "./proto/..."},
		why: "who tests a program that imports the client gets a fake inkand, and nothing of the daemon",
		bad: [2]string{"./client/clienttest", "./daemon/daemontest"},
	},
	{
		of:  []string{"./client/cli/...", "./client/tray/..."},
		may: []string{"./client/...", "./proto/..."},
		why: "the CLI and the tray are clients like any other",
		bad: [2]string{"./client/cli", "./daemon"},
	},
	{
		of:  []string{"./client/cmd/..."},
		may: []string{"./client/cli", "./client/cli/manpage", "./client/cli/promptcmd", "./client/tray"},
		why: "main only calls a tested function",
		bad: [2]string{"./client/cmd/inkan", "./proto/inkan/v1"},
	},
	{
		of:  []string{"./packaging/boottest"},
		may: []string{"./proto/..."},
		why: "what happens on a booted PC is seen from outside: by commands and the contract alone",
		bad: [2]string{"./packaging/boottest", "./client"},
	},
	{
		of:  []string{"./bench/..."},
		may: []string{"./bench/...", "./daemon", "./daemon/daemontest", "./daemon/internal/...", "./client", "./pcsc/...", "./token/...", "./proto/..."},
		why: "benchmarks measure the parts, not their mains",
		bad: [2]string{"./bench", "./client/cli"},
	},
}...)

// bans keep third parties in one place each, and test code out of products.
var bans = []ban{
	{
		of:   []string{"./token", "./pcsc/apdu"},
		only: []string{},
		deep: true,
		why:  "the domain and the byte formats need the standard library alone: nothing else to audit",
		bad:  [2]string{"./pcsc/apdu", "golang.org/x/crypto/cryptobyte"},
	},
	{
		of: []string{"./client", "./client/internal/..."},
		only: []string{
			"./client/...", "./proto/...", "buf.build/gen/go/bufbuild/protovalidate/...", "google.golang.org/grpc/...",
			"google.golang.org/protobuf/...", "google.golang.org/genproto/googleapis/rpc/...", "golang.org/x/sys/...",
			"golang.org/x/net/...", "golang.org/x/text/...", // these two come with grpc
		},
		deep: true,
		why:  "an app that imports the client inherits gRPC and nothing else",
		bad:  [2]string{"./client", "buf.build/go/protovalidate"},
	},
	{
		of:    []string{"./client/..."},
		never: []string{"./daemon/...", "./token/...", "./pcsc/..."},
		deep:  true,
		why:   "a client reaches cards only by asking inkand",
		bad:   [2]string{"./client/cli", "./token"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./pcsc"},
		never: []string{"github.com/ebfe/scard/..."},
		tests: true,
		why:   "PC/SC has one owner, pcsc: its traps are handled once",
		bad:   [2]string{"./token/piv", "github.com/ebfe/scard"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./token/p11/..."},
		never: []string{"github.com/miekg/pkcs11/..."},
		tests: true,
		why:   "a PKCS#11 module is initialised once per process, by token/p11 in its child process",
		bad:   [2]string{"./daemon", "github.com/miekg/pkcs11"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./daemon/helpdesk/..."},
		never: []string{"github.com/ThalesIgnite/crypto11/...", "github.com/ThalesGroup/crypto11/..."},
		tests: true,
		why:   "crypto11 logs in by itself and keeps the PIN: never on the card path, only beside the helpdesk's HSM",
		bad:   [2]string{"./token/p11", "github.com/ThalesIgnite/crypto11"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./daemon/internal/store/...", "./bench/..."},
		never: []string{"modernc.org/...", "database/sql/..."},
		why:   "SQL stays behind the interfaces of the leaves",
		bad:   [2]string{"./daemon/internal/audit", "database/sql"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./client/cli/..."},
		never: []string{"github.com/spf13/...", "github.com/jedib0t/go-pretty/...", "golang.org/x/term"},
		why:   "commands, tables and terminals belong to the CLI",
		bad:   [2]string{"./client", "golang.org/x/term"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./client/tray/..."},
		never: []string{"fyne.io/..."},
		why:   "the desktop belongs to the tray",
		bad:   [2]string{"./client/cli", "fyne.io/systray"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./client/tray/...", "./daemon/internal/logind/..."},
		never: []string{"github.com/godbus/dbus/..."},
		tests: true,
		why:   "the bus is for the tray and for asking logind",
		bad:   [2]string{"./daemon", "github.com/godbus/dbus/v5"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./daemon", "./token/cardprofile"},
		never: []string{"github.com/pelletier/go-toml/..."},
		why:   "configuration is read strictly, before anything starts: by the daemon, and card profiles by token/cardprofile",
		bad:   [2]string{"./daemon/internal/policy", "github.com/pelletier/go-toml/v2"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./daemon", "./daemon/internal/journald/...", "./daemon/internal/sdunit/..."},
		never: []string{"github.com/coreos/go-systemd/..."},
		why:   "systemd is a matter of starting up, not of parts",
		bad:   [2]string{"./daemon/internal/audit", "github.com/coreos/go-systemd/v22/journal"},
	},
	{
		of:    []string{"./daemon/internal/...", "./token/...", "./pcsc/..."},
		not:   []string{"./daemon/internal/rpc/...", "./daemon/internal/peer/..."},
		never: []string{"google.golang.org/grpc/...", "google.golang.org/genproto/..."},
		why:   "only rpc speaks gRPC (peer fills in its credentials interface); below it errors are ours",
		bad:   [2]string{"./daemon/internal/broker", "google.golang.org/grpc/status"},
	},
	{
		of:    []string{"..."},
		not:   []string{"./daemon/internal/rpc/...", "./daemon/internal/prompt/..."},
		never: []string{"buf.build/go/..."},
		tests: true,
		why:   "messages are checked where they come in, once: at the API and at pin.sock",
		bad:   [2]string{"./daemon/internal/broker", "buf.build/go/protovalidate"},
	},
	{
		of:    []string{"..."},
		not:   []string{"*test", "*fake", "./bench/..."},
		never: []string{"testing", "*test", "*fake", "github.com/google/go-cmp/...", "github.com/rogpeppe/..."},
		why:   "product code links no test code",
		bad:   [2]string{"./daemon", "./daemon/daemontest"},
	},
	{
		of:    []string{"..."},
		never: []string{"github.com/stretchr/testify/...", "github.com/golang/mock/...", "go.uber.org/mock/..."},
		tests: true,
		why:   "tests use the standard library, go-cmp and testscript; fakes are packages, not mocks",
		bad:   [2]string{"./daemon", "github.com/stretchr/testify/require"},
	},
}

// leafRooms makes the room of each leaf: the domain and itself, nothing else.
// Only the prompt also knows the packets of pin.sock.
func leafRooms() []room {
	made := make([]room, 0, len(leaves))
	for i, leaf := range leaves {
		itself := "./daemon/internal/" + leaf
		may := append([]string{itself + "/..."}, insides...)
		if leaf == "prompt" {
			may = append(may, "./proto/...")
		}
		made = append(made, room{
			of:  []string{itself + "/..."},
			may: may,
			why: "no leaf knows another leaf, the store or the wire; it declares the interface it needs (" + leaf + ")",
			bad: [2]string{itself, "./daemon/internal/" + leaves[(i+1)%len(leaves)]},
		})
	}
	return made
}

func leafPaths() []string {
	paths := make([]string, 0, len(leaves))
	for _, leaf := range leaves {
		paths = append(paths, "./daemon/internal/"+leaf)
	}
	return paths
}
