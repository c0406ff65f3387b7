package client

import (
	"context"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Keys lists the keys of all cards that are inserted, by card and slot.
// Certificates come without their bytes; [Client.Certificate] has them.
func (c *Client) Keys(ctx context.Context) ([]*inkanpb.Key, error) {
	var keys []*inkanpb.Key
	for key, err := range pages(c.language, func(token string) ([]*inkanpb.Key, string, error) {
		r, err := c.signing.ListKeys(ctx, &inkanpb.ListKeysRequest{PageToken: token})
		return r.GetKeys(), r.GetNextPageToken(), err
	}) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Certificate returns the certificate of a key, with its bytes (DER).
// [ErrNoCertificate] if the key has none.
func (c *Client) Certificate(ctx context.Context, keyID string) (*inkanpb.Certificate, error) {
	r, err := c.signing.GetCertificate(ctx, &inkanpb.GetCertificateRequest{KeyId: keyID})
	if err != nil {
		return nil, err
	}
	return r.GetCertificate(), nil
}
