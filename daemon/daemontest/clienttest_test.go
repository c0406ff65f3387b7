package daemontest_test

import (
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/clienttest"
	"github.com/inkan-project/inkan/daemon/daemontest"
)

// TestTheRealInkandIsLikeTheFakeOne keeps client/clienttest honest: what its
// fake shows to programs, inkand shows.
func TestTheRealInkandIsLikeTheFakeOne(t *testing.T) {
	clienttest.Conformance(t, func(t *testing.T) client.Options {
		return client.Options{Socket: daemontest.Start(t, daemontest.Options{}).Socket, Language: "en"}
	})
}
