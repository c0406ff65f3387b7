package cli

import (
	"context"
	"crypto"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// maxDocumentName is SignRequest.document_name's limit, in characters.
const maxDocumentName = 256

// signFlags are what `inkan sign` is told.
type signFlags struct {
	key, in, out, algorithm, name string
	pinFD                         int

	// for many documents
	outDir     string
	skipSigned bool
}

func (a *app) signCommand() *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use: "sign --key ID {--in FILE --out FILE | FILE...}",

		DisableFlagsInUseLine: true,

		Short: a.say("Sign files", "ファイルに署名する"),
		Long: a.say(`Hashes a file and signs the digest with a key of a card. The file is not sent.
The PIN is asked on the terminal, or read from --pin-fd. The signature is raw:
RSA as long as the modulus, ECDSA in ASN.1 DER, as openssl dgst -verify takes it.
Several files are signed under one PIN entry, each into FILE.sig; the first
failure ends it, and what is signed and what is not is listed.`,
			`ファイルのダイジェストを計算し、ICカードの鍵で署名します。ファイルは送りません。
暗証番号は端末で尋ねるか、--pin-fd から読みます。署名は生の形式で、
openssl dgst -verify で検証できます(RSAは法の長さ、ECDSAはASN.1 DER)。
複数のファイルは暗証番号1回の入力でまとめて署名し、それぞれ FILE.sig に書きます。
失敗した時点で終了し、署名済みと未署名のファイルを表示します。`),
		Example: `  inkan sign --key 9c --in bid.xml --out bid.sig
  inkan sign --key 9a --alg RSA-PSS-SHA256 --in - --out bid.sig < bid.xml
  inkan sign --key 9c --out-dir signatures bid-1.xml bid-2.xml`,
		RunE: func(cmd *cobra.Command, files []string) error {
			a.started = true
			if len(files) > 0 {
				if err := f.checkMany(); err != nil {
					return err
				}
				return a.withPIN(cmd, f.pinFD, func(ctx context.Context, c *client.Client) error { return a.signMany(ctx, c, f, files) })
			}
			if slices.Contains([]string{"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, f.out) {
				f.out = "-" // opened a second time it would be written from its beginning
			}
			if err := f.check(a.json); err != nil {
				return err
			}
			return a.withPIN(cmd, f.pinFD, func(ctx context.Context, c *client.Client) error { return a.sign(ctx, c, f) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", a.say("`ID` of the key, its slot (9c), or the beginning (4 and more) of the part after the dot", "鍵の`ID`、場所(9c)、または点の後の先頭4文字以上"))
	flags.StringVar(&f.in, "in", "", a.say("`FILE` to sign; - is stdin", "署名する`FILE`。- は標準入力"))
	flags.StringVar(&f.out, "out", "", a.say("`FILE` for the signature; - is stdout; may be left out with --json", "署名を書く`FILE`。- は標準出力。--json では省略できる"))
	flags.StringVar(&f.algorithm, "alg", "", a.say("`NAME` of the algorithm, such as ECDSA-SHA256 (else the key's usual one)", "アルゴリズムの`NAME`(例: ECDSA-SHA256、省略時は鍵の標準)"))
	flags.StringVar(&f.name, "name", "", a.say("name of the document, `DOC`, in prompt and log (else the file's)", "入力画面と記録に示す文書名`DOC`(省略時はファイル名)"))
	flags.StringVar(&f.outDir, "out-dir", "", a.say("folder `DIR` for the signatures of several files (else beside each)", "複数ファイルの署名を書くフォルダ`DIR`(省略時は各ファイルの隣)"))
	flags.BoolVar(&f.skipSigned, "skip-signed", false, a.say("leave out files that have their signature file already", "署名ファイルがすでにあるファイルを除く"))
	a.pinFlag(cmd, &f.pinFD)
	return cmd
}

func (f *signFlags) check(json bool) error {
	if f.outDir != "" || f.skipSigned {
		return usage("--out-dir and --skip-signed are for a list of files", "--out-dir と --skip-signed はファイルの一覧を指定するときに使います")
	}
	for _, required := range []struct{ name, value string }{{"key", f.key}, {"in", f.in}, {"out", f.out}} {
		if required.value == "" && (required.name != "out" || !json) {
			return usage("--"+required.name+" is missing", "--"+required.name+" を指定してください")
		}
	}
	if f.out == "-" && json {
		return usage("--out - and --json both write to stdout", "--out - と --json はどちらも標準出力に書きます")
	}
	if f.in == "-" && f.pinFD == 0 {
		return usage("--in - and --pin-fd 0 both read stdin", "--in - と --pin-fd 0 はどちらも標準入力を読みます")
	}
	if !utf8.ValidString(f.name) || utf8.RuneCountInString(f.name) > maxDocumentName {
		return usage("--name is UTF-8 of at most 256 characters", "--name は256文字以内のUTF-8で指定してください")
	}
	return nil
}

func (a *app) sign(ctx context.Context, c *client.Client, f signFlags) error {
	key, err := a.chooseKey(ctx, c, f.key)
	if err != nil {
		return err
	}
	algorithm, err := a.chooseAlgorithm(key, f.algorithm)
	if err != nil {
		return err
	}
	if a.sameFile(f.in, f.out) {
		return usage("--out is the same file as --in: the signature would replace the document",
			"--out と --in が同じファイルです(文書が署名で上書きされます)")
	}
	var out *target // nil: to stdout
	if f.out != "" && f.out != "-" {
		if out, err = openTarget(ctx, f.out); err != nil {
			return targetError(f.out, err)
		}
		defer out.discard()
	}
	digest, err := a.digest(ctx, f.in, client.AlgorithmHash(algorithm))
	if err != nil {
		return err
	}
	signature, err := c.Sign(ctx, client.SignRequest{KeyID: key.GetId(), Algorithm: algorithm, Digest: digest, DocumentName: f.documentName()})
	if err != nil {
		return err
	}
	for _, code := range signature.Warnings {
		a.warn(code)
	}
	if out != nil {
		if err := out.write(ctx, signature.Bytes); err != nil {
			return signatureLost(f.out, signature.Record, err)
		}
	}
	return a.printSigned(f.out, key, algorithm, signature)
}

// printSigned says what was signed, on stdout where the signature did not go.
func (a *app) printSigned(out string, key *inkanpb.Key, algorithm inkanpb.Algorithm, signature client.Signature) error {
	switch {
	case out == "-":
		if _, err := a.stdout.Write(signature.Bytes); err != nil {
			return signatureLost("stdout", signature.Record, err)
		}
	case a.json:
		warnings := append([]string{}, signature.Warnings...)
		return a.printJSON(signJSON{signature.Bytes, signature.Record, warnings, key.GetId(), client.AlgorithmName(algorithm)}, false)
	default:
		a.outf(a.say("signed: %s (key %s, %s, record %d)\n", "署名しました: %s (鍵 %s、%s、記録 %d)\n"),
			words.Clean(out), words.Clean(key.GetSlot()), client.AlgorithmName(algorithm), signature.Record)
	}
	return nil
}

// documentName is --name, else the file's own.
func (f *signFlags) documentName() string {
	if f.name != "" || f.in == "-" {
		return f.name
	}
	runes := []rune(strings.ToValidUTF8(filepath.Base(f.in), "\uFFFD"))
	return string(runes[:min(len(runes), maxDocumentName)])
}

// chooseAlgorithm finds the algorithm of --alg, else the key's usual one.
func (a *app) chooseAlgorithm(key *inkanpb.Key, name string) (inkanpb.Algorithm, error) {
	if name == "" {
		if len(key.GetAlgorithms()) == 0 {
			return 0, client.NewError(inkanpb.Reason_REASON_ALGORITHM_MISMATCH, a.lang,
				map[string]string{"algorithm": a.say("no algorithm", "どのアルゴリズムも"), "key_type": key.GetType()})
		}
		return key.GetAlgorithms()[0], nil
	}
	algorithm, ok := client.ParseAlgorithm(name)
	upper := strings.ToUpper(name)
	switch {
	case ok && client.AlgorithmRefused(algorithm), strings.HasSuffix(upper, "SHA1"), strings.HasSuffix(upper, "SHA-1"), strings.HasSuffix(upper, "MD5"):
		return 0, client.NewError(inkanpb.Reason_REASON_ALGORITHM_REFUSED, a.lang, map[string]string{"algorithm": upper})
	case !ok:
		known := make([]string, 0, len(key.GetAlgorithms()))
		for _, k := range key.GetAlgorithms() {
			known = append(known, client.AlgorithmName(k))
		}
		list := strings.Join(known, ", ")
		return 0, &mistake{
			exit: exitRequest, en: "there is no algorithm " + name, nextEN: "This key signs with: " + list,
			ja: "アルゴリズム " + name + " はありません", nextJA: "この鍵で使えるもの: " + list,
		}
	}
	return algorithm, nil
}

// digest hashes a file as a stream, whatever its size, until ctx ends.
func (a *app) digest(ctx context.Context, path string, hash crypto.Hash) ([]byte, error) {
	if !hash.Available() {
		return nil, client.NewError(inkanpb.Reason_REASON_ALGORITHM_REFUSED, a.lang, map[string]string{"algorithm": hash.String()})
	}
	stdin := a.stdin
	sum, err := await(ctx, func() ([]byte, error) {
		h := hash.New()
		if err := copyTo(h, path, stdin); err != nil {
			return nil, err
		}
		return h.Sum(nil), nil
	})
	if err != nil {
		return nil, documentError(path, err)
	}
	return sum, nil
}
