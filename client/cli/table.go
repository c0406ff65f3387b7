package cli

import (
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/inkan-project/inkan/client/internal/words"
)

func itoa(n int) string { return strconv.Itoa(n) }

// printTable writes rows under a header in columns that also line up where
// characters are twice as wide (text/tabwriter counts characters). It never
// writes colours.
func (a *app) printTable(header []string, rows [][]string) {
	t := table.NewWriter()
	t.SetStyle(table.Style{
		Box:     table.BoxStyle{PaddingRight: "  "},
		Format:  table.FormatOptions{Header: text.FormatDefault, Row: text.FormatDefault, Footer: text.FormatDefault},
		Options: table.OptionsNoBordersAndSeparators,
	})
	t.SuppressTrailingSpaces()
	t.AppendHeader(cells(header))
	for _, row := range rows {
		t.AppendRow(cells(row))
	}
	a.outf("%s\n", t.Render())
}

func cells(texts []string) table.Row {
	row := make(table.Row, len(texts))
	for i, w := range texts {
		row[i] = words.Clean(w)
	}
	return row
}
