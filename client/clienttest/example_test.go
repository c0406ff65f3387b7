package clienttest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/clienttest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// A test of what a program does when the card is pulled while it signs. A test
// writes clienttest.Start(t) and s.Client(t, pin).
func Example() {
	s, err := clienttest.New()
	if err != nil {
		log.Print(err)
		return
	}
	defer s.Close()
	s.Fail("Sign", inkanpb.Reason_REASON_CARD_REMOVED)

	c, err := client.Dial(context.Background(), s.Options())
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	_, err = c.Sign(context.Background(), client.SignRequest{KeyID: "any"})
	fmt.Println(errors.Is(err, client.ErrCardRemoved))
	// Output: true
}
