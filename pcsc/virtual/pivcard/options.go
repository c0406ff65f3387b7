package pivcard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ParseKeys reads which keys a card is made with, for example
// "9a=P-256,9c=RSA-2048". Slots are 9a, 9c, 9d and 9e, types RSA-2048, P-256
// and P-384.
func ParseKeys(text string) (map[Slot]KeyType, error) {
	slots := map[string]Slot{"9a": SlotAuthentication, "9c": SlotSignature, "9d": SlotKeyManagement, "9e": SlotCardAuth}
	types := map[string]KeyType{"RSA-2048": RSA2048, "P-256": P256, "P-384": P384}
	keys := map[Slot]KeyType{}
	for pair := range strings.SplitSeq(text, ",") {
		slotName, typeName, _ := strings.Cut(pair, "=")
		slot, slotOK := slots[slotName]
		keyType, typeOK := types[typeName]
		if !slotOK || !typeOK {
			return nil, fmt.Errorf("%q is not SLOT=TYPE with a slot 9a, 9c, 9d, 9e and a type RSA-2048, P-256, P-384", pair)
		}
		if _, twice := keys[slot]; twice {
			return nil, fmt.Errorf("slot %s is named twice", slot)
		}
		keys[slot] = keyType
	}
	return keys, nil
}

// ParseBehaviour reads a behaviour from JSON, with the names that card.json
// uses. A name that is not known is an error.
func ParseBehaviour(text []byte) (Behaviour, error) {
	var b Behaviour
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b); err != nil {
		return Behaviour{}, fmt.Errorf("reading behaviour: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Behaviour{}, errors.New("reading behaviour: there is something behind it")
	}
	return b, b.check()
}
