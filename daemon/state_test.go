package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/token"
)

func TestALockFileBehindASymbolicLinkIsNotOpened(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	state, err := openState(dir)
	if err == nil {
		_ = state.Close()
	}
	if token.KindOf(err) != token.KindStateNotWritable {
		t.Errorf("openState: %v, want STATE_NOT_WRITABLE", err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "keep me" {
		t.Errorf("the file behind the link holds %q now, %v", got, err)
	}
}
