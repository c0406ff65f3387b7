package configpage

import (
	"fmt"
	"strings"
)

// language is how a page is written.
type language struct {
	title, intro string
	head         string // of the tables
	kind         int    // index into kinds
	top          string // heading of what is in no table
	section      func(section) string
	key          func(section, key) string
}

// generated is the first line of both pages.
const generated = "<!-- Written by `make generate` out of the comments of daemon.Config: edit those, or ja.txt. -->\n\n"

var english = language{
	title: "Configuration",
	intro: `The file is ` + "`/etc/inkan/inkand.toml`" + `, in [TOML](https://toml.io/). A key that inkand does not know is an error, with its line.
Files in ` + "`/usr/lib/inkan/inkand.d`" + ` and ` + "`/etc/inkan/inkand.d`" + ` (` + "`*.toml`" + `) are read after it, and what a later file sets wins.
Check what you wrote, then restart the service:

` + "```" + `
inkand --check-config --config /etc/inkan/inkand.toml --config-dir /etc/inkan/inkand.d
systemctl restart inkand
` + "```" + `

How to write values: a text ` + "`\"inkan\"`" + `, true or false, a number ` + "`8`" + `, a time span ` + "`\"2m30s\"`" + `, a list ` + "`[\"a\", \"b\"]`" + `, a table ` + "`{\"9a\" = \"P-256\"}`" + `.
In Japanese: [ja/configuration.md](ja/configuration.md).
`,
	head: "| Key | Value | Meaning |", top: "At the top",
	section: func(s section) string { return s.text },
	key: func(_ section, k key) string {
		if k.text == "" {
			return "As it says."
		}
		return k.text
	},
}

func inJapanese(texts map[string]string) language {
	return language{
		title: "設定",
		intro: `設定ファイルは ` + "`/etc/inkan/inkand.toml`" + `([TOML](https://toml.io/) 形式)です。知らない項目があれば、行番号つきの誤りになります。
` + "`/usr/lib/inkan/inkand.d`" + ` と ` + "`/etc/inkan/inkand.d`" + ` の ` + "`*.toml`" + ` がその後に読まれ、後の設定が優先します。
書いたら確かめて、サービスを再起動します。

` + "```" + `
inkand --check-config --config /etc/inkan/inkand.toml --config-dir /etc/inkan/inkand.d
systemctl restart inkand
` + "```" + `

値の書き方: 文字列 ` + "`\"inkan\"`" + `、true / false、数 ` + "`8`" + `、時間 ` + "`\"2m30s\"`" + `、並び ` + "`[\"a\", \"b\"]`" + `、表 ` + "`{\"9a\" = \"P-256\"}`" + `。
英語版: [../configuration.md](../configuration.md)
`,
		head: "| 項目 | 値 | 意味 |", kind: 1, top: "最上位",
		section: func(s section) string { return texts["["+s.path+"]"] },
		key:     func(s section, k key) string { return texts[strings.TrimPrefix(s.path+"."+k.name, ".")] },
	}
}

// page writes the whole page.
func page(sections []section, l language) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n\n%s", generated, l.title, l.intro)
	for _, s := range sections {
		heading := l.top
		if s.path != "" {
			heading = "`[" + s.path + "]`"
			if s.list {
				heading = "`[[" + s.path + "]]`"
			}
		}
		fmt.Fprintf(&b, "\n## %s\n\n", heading)
		if text := l.section(s); s.path != "" && text != "" {
			fmt.Fprintf(&b, "%s\n\n", text)
		}
		fmt.Fprintf(&b, "%s\n|---|---|---|\n", l.head)
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, kinds[k.value][l.kind], strings.ReplaceAll(l.key(s, k), "|", `\|`))
		}
	}
	return b.String()
}
