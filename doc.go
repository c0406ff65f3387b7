// Package inkan is the map of the source; it holds no code.
//
// Inkan (印鑑) stands between a company's IC card and the programs that sign
// with it. One service, inkand, owns the card; programs ask it over gRPC.
// Arrows between packages go down only; layering_test.go holds that.
//
//	proto/inkan/v1          the contract: .proto files and their Go code
//	proto/catalogue         the errors of errors.proto, in words; errorpage writes docs/errors.md
//	client                  what programs import: Dial, Client, Signer, errors
//	client/clienttest       an inkand for tests of such programs
//	client/cli              the command inkan; its main is client/cmd/inkan
//	client/cli/promptcmd    the program inkan-prompt, the trusted prompt
//	client/cli/ttyprompt    questions at the terminal, of both programs
//
//	daemon                  inkand put together: Config, Load, Run
//	daemon/cmd/inkand       its main
//	daemon/daemontest       the real inkand inside a test
//	daemon/internal/rpc     handlers and interceptors: the only part that speaks gRPC
//	daemon/internal/broker  one use case, one method: policy, PIN, record, card
//	daemon/internal/...     leaves that do not know each other: pinguard (tries),
//	                        policy (who may), prompt (pin.sock), audit (the log),
//	                        peer (who calls), requests (asked twice, done once),
//	                        unixsock (safe sockets),
//	                        blackbox (the last minutes, for support)
//	daemon/internal/cardreport  what a card shows without a PIN, for its owner to send
//	daemon/internal/store   SQLite behind the interfaces that the leaves declare
//
//	token                   the domain: Token, Key, PIN, Tries, Attempt, states
//	token/piv               PIV cards
//	token/p11               cards behind a vendor's PKCS#11 module; frame and module are its child process
//	token/cardprofile       what must be known of a kind of card, as TOML
//	token/tokentest         the suite that every kind of token passes
//
//	pcsc                    readers and cards, as small interfaces; Service is pcscd
//	pcsc/apdu               commands, responses, status words, BER-TLV
//	pcsc/virtual            a reader and a card (pivcard) that are only software;
//	                        vpcd puts such a card into a real pcscd
//	pcsc/virtual/cardcmd    the program that does so, inkan-virtual-card
//	pcsc/pcsctest           a pcscd for one test, with faults
//
// Start with docs/architecture.md. How to check a change: docs/testing.md.
package inkan
