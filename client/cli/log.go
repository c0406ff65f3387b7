package cli

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

type recordJSON struct {
	Sequence     uint64     `json:"sequence"`
	Time         *time.Time `json:"time"`
	Kind         string     `json:"kind"`
	Operation    string     `json:"operation"`
	Intent       uint64     `json:"intent"` // 0 = not the result of one
	Outcome      string     `json:"outcome"`
	Code         string     `json:"code"`
	UID          *uint32    `json:"uid"` // null = the service itself
	PID          int32      `json:"pid"`
	Program      string     `json:"program"`
	Card         string     `json:"card"`
	Key          string     `json:"key"`
	Algorithm    string     `json:"algorithm"`
	Digest       string     `json:"digest"` // hexadecimal
	DocumentName string     `json:"document_name"`
	TriesLeft    *uint32    `json:"tries_left"` // null = unknown, or not about a PIN
	Virtual      bool       `json:"virtual"`
	Detail       string     `json:"detail"`
	Hash         string     `json:"hash"` // hexadecimal
}

func (a *app) logCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "log",
		Short: a.say("Show the newest records of the log, oldest first", "新しい記録を古い順に表示する"),
		Long: a.say("Shows the newest records of the log, oldest first. An auditor sees all records,\nanybody else those of their own user.",
			"新しい記録を古い順に表示します。監査者にはすべて、ほかの人には自分の記録が\n表示されます。"),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if limit < 0 || limit > client.MaxLastRecords {
				return usage("--limit is 0 to 1000", "--limit には 0 から 1000 を指定してください")
			}
			return a.run(func(ctx context.Context, c *client.Client) error { return a.showLog(ctx, c, limit) })(cmd, args)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, a.say("number `N` of records, up to 1000; 0 is all", "記録の数`N`(1000まで、0はすべて)"))
	return cmd
}

func (a *app) showLog(ctx context.Context, c *client.Client, limit int) error {
	var records []*inkanpb.Record
	if limit > 0 {
		var err error
		if records, err = c.LastRecords(ctx, limit); err != nil {
			return err
		}
	} else {
		for r, err := range c.Records(ctx) {
			if err != nil {
				return err
			}
			records = append(records, r)
		}
	}
	if a.json {
		out := make([]recordJSON, 0, len(records))
		for _, r := range records {
			out = append(out, recordToJSON(r))
		}
		return a.printJSON(out, false)
	}
	if len(records) == 0 {
		a.outf("%s\n", a.say("no records", "記録がありません"))
		return nil
	}
	a.printRecords(records)
	return nil
}

func recordToJSON(r *inkanpb.Record) recordJSON {
	return recordJSON{
		Sequence: r.GetSequence(), Time: rfc3339(r.GetTime()), Kind: recordKindWord(r.GetKind()), Operation: r.GetOperation(),
		Intent: r.GetIntent(), Outcome: r.GetOutcome(), Code: r.GetCode(), UID: r.Uid, PID: r.GetPid(), Program: r.GetProgram(),
		Card: r.GetCardId(), Key: r.GetKeyId(), Algorithm: r.GetAlgorithm(), Digest: hex.EncodeToString(r.GetDigest()),
		DocumentName: r.GetDocumentName(), TriesLeft: r.TriesLeft, Virtual: r.GetVirtual(), Detail: r.GetDetail(),
		Hash: hex.EncodeToString(r.GetHash()),
	}
}

func (a *app) printRecords(records []*inkanpb.Record) {
	var rows [][]string
	for _, r := range records {
		about := r.GetDocumentName()
		if d := r.GetDetail(); d != "" {
			about = strings.TrimSpace(about + " " + d)
		}
		user, tries := "", ""
		if r.Uid != nil {
			user = itoa(int(r.GetUid()))
		}
		if r.TriesLeft != nil {
			tries = itoa(int(r.GetTriesLeft()))
		}
		outcome := strings.TrimSpace(a.outcome(r.GetOutcome()) + " " + r.GetCode())
		rows = append(rows, []string{
			itoa(int(r.GetSequence())), at(r.GetTime(), "2006-01-02 15:04:05"), a.forPeople(recordKindWord(r.GetKind())),
			a.forPeople(r.GetOperation()), outcome, tries, user, r.GetProgram(), strings.TrimSpace(about + a.virtualMark(r.GetVirtual())),
		})
	}
	a.printTable([]string{
		"#", a.say("TIME", "日時"), a.say("KIND", "種別"), a.say("OPERATION", "操作"), a.say("OUTCOME", "結果"),
		a.say("TRIES LEFT", "残り回数"), a.say("USER", "ユーザ"), a.say("PROGRAM", "プログラム"), a.say("ABOUT", "内容"),
	}, rows)
}

// outcome keeps the log's own words in English: they are what is chained.
func (a *app) outcome(w string) string {
	if a.lang == "ja" {
		return a.forPeople(w)
	}
	return w
}
