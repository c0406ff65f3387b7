package apdu

import "encoding/hex"

// masked stands for the data field of a command with a secret. It does not
// tell the length, which is that of the PIN on cards without padding.
const masked = " [secret]"

// Redact returns a command in hexadecimal for traces. Of VERIFY, CHANGE
// REFERENCE DATA and RESET RETRY COUNTER only the header is shown.
func Redact(command []byte) string {
	if len(command) < 2 || !carriesSecret(command[1]) {
		return hex.EncodeToString(command)
	}
	if len(command) <= headerLength {
		return hex.EncodeToString(command)
	}
	return hex.EncodeToString(command[:headerLength]) + masked
}
