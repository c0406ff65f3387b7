package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// signatureEnding is added to the name of a document for that of its signature.
const signatureEnding = ".sig"

// signedNotSaved is the state of a document that the card has signed and whose
// signature is in no file: another would be a second one.
const signedNotSaved = "signed, not saved"

// signed is one document of many and where its signature goes.
type signed struct {
	document, path string
	out            *target
	record         uint64 // of its signature, 0 = none came
	saved          bool   // the signature is in its file
}

// checkMany checks the flags for many documents.
func (f *signFlags) checkMany() error {
	switch {
	case f.key == "":
		return usage("--key is missing", "--key を指定してください")
	case f.in != "" || f.out != "" || f.name != "":
		return usage("--in, --out and --name are for one document; give either --in or a list of files",
			"--in、--out、--name は1件用です。--in かファイルの一覧のどちらかを指定してください")
	}
	return nil
}

// plan names the signatures of the documents, each its own.
func (f *signFlags) plan(files []string) ([]*signed, error) {
	taken := map[string]string{}
	var all []*signed
	for _, file := range files {
		s := &signed{document: file, path: file + signatureEnding}
		if f.outDir != "" {
			s.path = filepath.Join(f.outDir, filepath.Base(file)+signatureEnding)
		}
		if other, twice := taken[filepath.Clean(s.path)]; twice {
			return nil, usage(file+" and "+other+" would have the same signature file "+s.path,
				file+" と "+other+" の署名ファイルが同じ "+s.path+" になります")
		}
		taken[filepath.Clean(s.path)] = file
		if f.skipSigned {
			if _, err := os.Stat(s.path); err == nil {
				continue
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, targetError(s.path, err)
			}
		}
		all = append(all, s)
	}
	if len(all) > client.MaxBatch {
		most := strconv.Itoa(client.MaxBatch)
		return nil, usage("at most "+most+" documents are signed at once", "一度に署名できるのは"+most+"件までです")
	}
	return all, nil
}

// signMany signs documents under one prompt. What can go wrong without the card
// does so before anybody is asked.
func (a *app) signMany(ctx context.Context, c *client.Client, f signFlags, files []string) error {
	all, err := f.plan(files)
	if err != nil {
		return err
	}
	key, err := a.chooseKey(ctx, c, f.key)
	if err != nil {
		return err
	}
	algorithm, err := a.chooseAlgorithm(key, f.algorithm)
	if err != nil {
		return err
	}
	q := client.BatchRequest{KeyID: key.GetId(), Algorithm: algorithm}
	defer func() {
		for _, s := range all {
			if s.out != nil {
				s.out.discard()
			}
		}
	}()
	for _, s := range all {
		if a.sameFile(s.document, s.path) {
			return usage("the signature would replace the document "+s.document, "文書 "+s.document+" が署名で上書きされます")
		}
		if s.out, err = openTarget(ctx, s.path); err != nil {
			return targetError(s.path, err)
		}
		digest, err := a.digest(ctx, s.document, client.AlgorithmHash(algorithm))
		if err != nil {
			return err
		}
		one := signFlags{in: s.document}
		q.Documents = append(q.Documents, client.Document{Digest: digest, Name: one.documentName()})
	}
	if len(all) > 0 {
		err = a.takeSignatures(ctx, c, q, key, all)
	}
	return errors.Join(a.printMany(all, key, algorithm, err), err)
}

// takeSignatures writes each signature as it comes. One that cannot be written
// does not end the batch: the person has allowed the others, too.
func (a *app) takeSignatures(ctx context.Context, c *client.Client, q client.BatchRequest, key *inkanpb.Key, all []*signed) error {
	warned := map[string]bool{}
	var lost error // the first
	for signature, err := range c.SignBatch(ctx, q) {
		if err != nil {
			return errors.Join(lost, err)
		}
		s := all[signature.Index]
		for _, code := range signature.Warnings {
			if !warned[code] {
				a.warn(code)
			}
			warned[code] = true
		}
		s.record = signature.Record
		if err := s.out.write(ctx, signature.Bytes); err != nil {
			if lost == nil {
				lost = signatureLost(s.path, signature.Record, err)
			}
			continue
		}
		s.saved = true
		if !a.json {
			a.outf(a.say("signed: %s (key %s, %s, record %d)\n", "署名しました: %s (鍵 %s、%s、記録 %d)\n"),
				words.Clean(s.path), words.Clean(key.GetSlot()), client.AlgorithmName(q.Algorithm), signature.Record)
		}
	}
	return lost
}

// printMany says of every document what became of it.
func (a *app) printMany(all []*signed, key *inkanpb.Key, algorithm inkanpb.Algorithm, failure error) error {
	done, unknown := map[int]bool{}, map[int]bool{}
	if e, ok := errors.AsType[*client.BatchError](failure); ok {
		for _, i := range e.Done {
			done[i] = true
		}
		for _, i := range e.Unknown {
			unknown[i] = true
		}
	}
	list := manyJSON{Documents: []manyDocumentJSON{}, Key: key.GetId(), Algorithm: client.AlgorithmName(algorithm)}
	for i, s := range all {
		d := manyDocumentJSON{Document: s.document, State: "not signed"}
		switch {
		case s.saved:
			d.State, d.Signature, d.Record = "signed", s.path, &s.record
		case s.record != 0:
			d.State, d.Record = signedNotSaved, &s.record
		case done[i]: // inkand has its record; the signature did not come
			d.State = signedNotSaved
		case unknown[i]:
			d.State = "unknown"
		}
		list.Documents = append(list.Documents, d)
	}
	if a.json {
		return a.printJSON(list, false)
	}
	if len(all) == 0 {
		a.outf("%s", a.say("nothing to sign: every document has its signature\n", "署名する文書はありません(すべて署名済みです)\n"))
	}
	for _, d := range list.Documents {
		switch d.State {
		case signedNotSaved:
			record := ""
			if d.Record != nil {
				record = a.say(", record ", "、記録 ") + strconv.FormatUint(*d.Record, 10)
			}
			a.outf(a.say("signed, but the signature is not saved: %s (key %s%s)\n", "署名しましたが、保存できていません: %s (鍵 %s%s)\n"),
				words.Clean(d.Document), words.Clean(key.GetSlot()), record)
		case "unknown":
			a.outf(a.say("not known whether signed: %s\n", "署名されたか不明: %s\n"), words.Clean(d.Document))
		case "not signed":
			a.outf(a.say("not signed: %s\n", "未署名: %s\n"), words.Clean(d.Document))
		}
	}
	return nil
}
