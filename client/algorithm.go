package client

import (
	"crypto"
	_ "crypto/sha256" // registers SHA-256 with crypto.Hash
	_ "crypto/sha512" // registers SHA-384 and SHA-512
	"strings"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const algorithmPrefix = "ALGORITHM_"

// AlgorithmName returns the name that people use: "RSA-PSS-SHA256".
func AlgorithmName(a inkanpb.Algorithm) string {
	return strings.ReplaceAll(strings.TrimPrefix(a.String(), algorithmPrefix), "_", "-")
}

// ParseAlgorithm returns the algorithm of a name, whatever its case; false if
// there is none. The names of SHA-1 and MD5 are known, so that they can be
// refused as what they are: see [AlgorithmRefused].
func ParseAlgorithm(name string) (inkanpb.Algorithm, bool) {
	v, ok := inkanpb.Algorithm_value[algorithmPrefix+strings.ReplaceAll(strings.ToUpper(name), "-", "_")]
	return inkanpb.Algorithm(v), ok && v != 0
}

// AlgorithmRefused reports whether an algorithm is named only to be refused: signatures
// with SHA-1 and MD5 can be forged.
func AlgorithmRefused(a inkanpb.Algorithm) bool {
	return strings.HasSuffix(a.String(), "_SHA1") || strings.HasSuffix(a.String(), "_MD5")
}

// AlgorithmHash returns the hash that makes the digest for an algorithm; 0 if it is
// refused or unknown.
func AlgorithmHash(a inkanpb.Algorithm) crypto.Hash {
	switch name := a.String(); {
	case strings.HasSuffix(name, "_SHA256"):
		return crypto.SHA256
	case strings.HasSuffix(name, "_SHA384"):
		return crypto.SHA384
	case strings.HasSuffix(name, "_SHA512"):
		return crypto.SHA512
	}
	return 0
}
