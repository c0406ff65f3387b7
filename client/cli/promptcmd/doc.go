// Package promptcmd is the program inkan-prompt, the trusted prompt on the
// terminal. It is installed owned by root and setgid to group inkan-prompt:
// inkand takes what comes from a process of that group as entered by a person,
// and only that for the last tries of a card.
//
// It guarantees: of the environment it obeys LANG, LC_ALL and LC_MESSAGES, and
// nothing else (with more it starts itself again without); it keeps only the
// descriptors it was told of; it leaves no core and cannot be traced by its
// user; it connects to a pin.sock only in a folder that root, inkand's user or
// the user himself owns and nobody else can write to, and only to a process of
// root or the folder's owner; it gives its group up for good after connecting
// and before it touches the terminal; a secret is in locked memory only.
//
// The caller starts it with
//
//	inkan-prompt --socket /run/inkan/pin.sock --ready-fd 3 --life-fd 4 [--lang ja]
//
// reads one line, the agent's id, from the pipe of --ready-fd, names it in the
// metadata inkan-agent of its calls, and closes the pipe of --life-fd when it
// needs the prompt no more. inkan-prompt ends then, or with inkand, with code
// 0; with 2 when the command line is wrong, else with 1 and a line on stderr.
//
// What it cannot do: tell a person at the terminal from a program of the same
// user that plays one.
package promptcmd
