package client_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/clienttest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// inkandForExample is what a program does not have: the examples run in tests,
// against a fake inkand. A program passes client.Options{} to Dial.
func inkandForExample(pin client.PINSource) (*clienttest.Server, client.Options) {
	s, err := clienttest.New()
	if err != nil {
		log.Fatal(err)
	}
	o := s.Options()
	o.PIN = pin
	return s, o
}

// A program signs a document: it sends the digest, and shows the person which
// document that is.
func Example() {
	inkand, options := inkandForExample(clienttest.PIN(clienttest.CardPIN))
	defer inkand.Close()

	ctx := context.Background()
	c, err := client.Dial(ctx, options) // a program: client.Options{}
	if err != nil {
		log.Print(err) // says what happened and what to do next
		return
	}
	defer c.Close()
	keys, err := c.Keys(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	key := keys[1]
	digest := sha256.Sum256([]byte("入札書 金額 1,000,000円"))
	signature, err := c.Sign(ctx, client.SignRequest{
		KeyID: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: digest[:], DocumentName: "入札書.pdf",
	})
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(key.GetCertificate().GetCompany(), client.AlgorithmName(key.GetAlgorithms()[0]), "record", signature.Record)
	// Output: 株式会社サンプル ECDSA-SHA256 record 1
}

// A path at which nothing listens is known at once.
func ExampleDial() {
	_, err := client.Dial(context.Background(), client.Options{Socket: "/nonexistent/inkan.sock", Language: "en"})
	fmt.Println(errors.Is(err, client.ErrServiceUnreachable))
	fmt.Println(err)
	// Output:
	// true
	// INK-5011 inkand cannot be reached at /nonexistent/inkan.sock: there is no such socket. Check that inkand runs and that --socket or INKAN_SOCKET names its socket.
}

// Keys of a card, with what their certificates say.
func ExampleClient_Keys() {
	inkand, options := inkandForExample(nil)
	defer inkand.Close()
	c, err := client.Dial(context.Background(), options)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	keys, err := c.Keys(context.Background())
	if err != nil {
		log.Print(err)
		return
	}
	for _, k := range keys {
		fmt.Println(k.GetSlot(), k.GetType(), k.GetCertificate().GetCompany(), k.GetCertificate().GetNotAfter().AsTime().Format("2006-01-02"))
	}
	// Output:
	// 9a RSA-2048 株式会社サンプル 2028-12-31
	// 9c P-256 株式会社サンプル 2028-12-31
	// 9e P-256 株式会社サンプル 2028-12-31
}

// A key of a card as a crypto.Signer: here it asks for a certificate.
func ExampleClient_Signer() {
	inkand, options := inkandForExample(clienttest.PIN(clienttest.CardPIN))
	defer inkand.Close()
	ctx := context.Background()
	c, err := client.Dial(ctx, options)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	keys, err := c.Keys(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	signer, err := c.Signer(ctx, keys[0].GetId())
	if err != nil {
		log.Print(err)
		return
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Country: []string{"JP"}, Organization: []string{"株式会社サンプル"}},
	}, signer.ForDocument("証明書の申請"))
	if err != nil {
		log.Print(err)
		return
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(parsed.Subject, parsed.SignatureAlgorithm, parsed.CheckSignature() == nil)
	// Output: O=株式会社サンプル,C=JP SHA256-RSA true
}

// A wrong PIN has spent a try: the program says so and leaves the next try to
// the person.
func ExampleError() {
	inkand, options := inkandForExample(clienttest.PIN("654321"))
	defer inkand.Close()
	c, err := client.Dial(context.Background(), options)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	_, err = c.VerifyPIN(context.Background(), clienttest.CardID)
	switch e, ok := errors.AsType[*client.Error](err); {
	case errors.Is(err, client.ErrPINWrong):
		fmt.Println(e.Code, "left:", e.TriesLeft)
		message, next := e.In("ja")
		fmt.Println(message)
		fmt.Println(next)
	case ok:
		fmt.Println(e.Message, e.Next)
	}
	// Output:
	// INK-1001 left: 9
	// 暗証番号が違います。残り回数: 9。
	// 暗証番号を確認してから、もう一度入力してください。残り回数がなくなるとICカードはロックされ、ロック解除コードが必要になります。
}

// A window that shows whether the card is there. It goes on when inkand is
// updated.
func ExampleClient_Watch() {
	inkand, options := inkandForExample(nil)
	defer inkand.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := client.Dial(ctx, options)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	shown := 0
	for update, err := range c.Watch(ctx) {
		switch {
		case errors.Is(err, client.ErrCallEnded):
			return // ctx is done
		case err != nil:
			log.Print(err)
			return
		case update.Lost != nil:
			fmt.Println("inkand is away")
		case len(update.Status.GetCards()) == 0:
			fmt.Println("no card")
		default:
			fmt.Println(update.Status.GetCards()[0].GetCompany())
		}
		switch shown++; shown { // what happens meanwhile
		case 1:
			inkand.TakeCardOut()
		case 2:
			inkand.Stop()
		case 3:
			if err := inkand.Restart(); err != nil {
				log.Print(err)
				return
			}
		case 4:
			cancel()
		}
	}
	// Output:
	// 株式会社サンプル
	// no card
	// inkand is away
	// 株式会社サンプル
}

// dialogue is a PINSource: a window of a program that shows what is asked.
type dialogue struct{ show func(client.Prompt) }

// PIN implements client.PINSource. It writes what the person types into buf
// and keeps nothing of it; this one types by itself.
func (d dialogue) PIN(_ context.Context, p client.Prompt, buf []byte) (int, error) {
	d.show(p)
	return copy(buf, clienttest.CardPIN), nil
}

// A program with a window of its own for the PIN. Most programs need none: the
// prompt of the person's session is asked.
func ExamplePINSource() {
	window := dialogue{func(p client.Prompt) {
		fmt.Println(p.Purpose, p.Company, p.DocumentNames, "tries left:", p.Tries.Left)
	}}
	inkand, options := inkandForExample(window)
	defer inkand.Close()
	ctx := context.Background()
	c, err := client.Dial(ctx, options) // a program: client.Options{PIN: window}
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	keys, err := c.Keys(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	_, err = c.Sign(ctx, client.SignRequest{
		KeyID: keys[1].GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: make([]byte, 32), DocumentName: "見積書.pdf",
	})
	fmt.Println(err)
	// Output:
	// sign 株式会社サンプル [見積書.pdf] tries left: 10
	// <nil>
}
