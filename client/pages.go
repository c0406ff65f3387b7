package client

import (
	"iter"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// pages yields the items of a list, page after page. A list that names the
// same page again would never end, so that is an error.
func pages[T any](language string, fetch func(token string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for token := ""; ; {
			items, next, err := fetch(token)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if next == token {
				yield(none, NewError(inkanpb.Reason_REASON_INTERNAL, language, nil))
				return
			}
			token = next
		}
	}
}
