package rpc

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// algorithms maps the API's algorithms to ours; what is only named so that it
// can be refused is not in it.
func algorithms() map[inkanpb.Algorithm]token.Algorithm {
	return map[inkanpb.Algorithm]token.Algorithm{
		inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256: token.RSAPKCS1SHA256,
		inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA384: token.RSAPKCS1SHA384,
		inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA512: token.RSAPKCS1SHA512,
		inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA256:   token.RSAPSSSHA256,
		inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA384:   token.RSAPSSSHA384,
		inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA512:   token.RSAPSSSHA512,
		inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256:     token.ECDSASHA256,
		inkanpb.Algorithm_ALGORITHM_ECDSA_SHA384:     token.ECDSASHA384,
		inkanpb.Algorithm_ALGORITHM_ECDSA_SHA512:     token.ECDSASHA512,
	}
}

// algorithm returns our algorithm, or KindAlgorithmRefused.
func algorithm(a inkanpb.Algorithm) (token.Algorithm, error) {
	if ours, ok := algorithms()[a]; ok {
		return ours, nil
	}
	name := a.String()[len("ALGORITHM_"):]
	return token.Algorithm{}, token.NewError(token.KindAlgorithmRefused, "algorithm", name)
}

// protoAlgorithms returns what a key can be used with, in the API's terms.
func protoAlgorithms(key token.Key) []inkanpb.Algorithm {
	var all []inkanpb.Algorithm
	if key.DecryptOnly {
		return nil
	}
	for _, have := range token.Algorithms(key.Public) {
		for name, ours := range algorithms() {
			if ours == have {
				all = append(all, name)
			}
		}
	}
	return all
}

// protoKey converts a key of a card.
func (s *Server) protoKey(key token.Key, card cardowner.Card) *inkanpb.Key {
	keyType, _ := token.TypeOf(key.Public) // a key of another type was not read
	return &inkanpb.Key{
		Id: string(key.ID), Label: key.Label, Type: keyType, CardId: string(key.Card), Slot: key.Slot,
		PinPolicy: inkanpb.PinPolicy(key.PINPolicy), Algorithms: protoAlgorithms(key), PublicKey: key.SPKI,
		Certificate: s.protoCertificate(key), Virtual: card.Virtual,
	}
}

// protoCertificate converts a certificate, without its bytes; nil for none.
func (s *Server) protoCertificate(key token.Key) *inkanpb.Certificate {
	facts, state := s.cfg.Broker.Certificate(key)
	if state == 0 {
		return nil
	}
	return &inkanpb.Certificate{
		Subject: facts.Subject, Issuer: facts.Issuer, Company: facts.Company, Holder: facts.Holder, Serial: facts.Serial,
		NotBefore: timestamppb.New(facts.NotBefore), NotAfter: timestamppb.New(facts.NotAfter),
		State: inkanpb.CertificateState(state),
	}
}
