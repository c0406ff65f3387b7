package policy

import (
	"maps"
	"strings"
	"testing"
)

const signerGID = 998

func installed() Config { return Config{SignerGID: new(uint32(signerGID))} }

// subjects are the people of the matrix.
func subjects() map[string]Subject {
	return map[string]Subject{
		"signer by supplementary group": {UID: 1000, Groups: []uint32{1000, signerGID}},
		"signer by primary group":       {UID: 1001, Groups: []uint32{signerGID}},
		"other user":                    {UID: 1002, Groups: []uint32{1002, 27}},
		"user without groups":           {UID: 1003},
		"root":                          {UID: 0, Groups: []uint32{0}},
		"root in the signers' group":    {UID: 0, Groups: []uint32{0, signerGID}},
	}
}

// everybody, signers, signersAndAuditors: the names that may call.
func everybody() []string {
	var all []string
	for name := range subjects() {
		all = append(all, name)
	}
	return all
}

func signers() []string {
	return []string{"signer by supplementary group", "signer by primary group", "root in the signers' group"}
}

// matrix is the table of docs/architecture.md section 6, written a second
// time on purpose: the one in policy.go is compared with it.
func matrix() map[string][]string {
	return map[string][]string{
		"/grpc.health.v1.Health/Check":            everybody(),
		"/grpc.health.v1.Health/Watch":            everybody(),
		"/inkan.v1.StatusService/GetVersion":      everybody(),
		"/inkan.v1.StatusService/GetStatus":       everybody(),
		"/inkan.v1.StatusService/WatchStatus":     everybody(),
		"/inkan.v1.StatusService/Diagnose":        everybody(),
		"/inkan.v1.SigningService/ListKeys":       signers(),
		"/inkan.v1.SigningService/GetCertificate": signers(),
		"/inkan.v1.SigningService/Sign":           signers(),
		"/inkan.v1.SigningService/SignBatch":      signers(),
		"/inkan.v1.CardService/VerifyPin":         signers(),
		"/inkan.v1.CardService/ChangePin":         signers(),
		"/inkan.v1.CardService/Unlock":            signers(),
		"/inkan.v1.CardService/Acknowledge":       append(signers(), "root"),
		"/inkan.v1.CardService/StopHere":          append(signers(), "root"),
		"/inkan.v1.RegisterService/ListCards":     append(signers(), "root"),
		"/inkan.v1.RegisterService/Lift":          {"root", "root in the signers' group"},
		"/inkan.v1.AuditService/List":             append(signers(), "root"),
		"/inkan.v1.AdminService/SupportBundle":    {"root", "root in the signers' group"},
		// Not in the policy: nobody.
		"/grpc.health.v1.Health/List":               {},
		"/inkan.v1.AdminService/Reload":             {},
		"/inkan.v1.SigningService/sign":             {},
		"inkan.v1.SigningService/Sign":              {},
		"/inkan.v1.SigningService/":                 {},
		"/inkan.v1.SigningService/Sign/":            {},
		"/grpc.reflection.v1.ServerReflection/Info": {},
		"": {},
	}
}

func TestEachCellOfTheMatrixIsDecidedAsWritten(t *testing.T) {
	p := New(installed())
	for method, may := range matrix() {
		for name, s := range subjects() {
			want := false
			for _, m := range may {
				want = want || m == name
			}
			got := p.Decide(method, s)
			if got.Allowed != want {
				t.Errorf("%s calls %q: allowed = %v (%s), want %v", name, method, got.Allowed, got.Ground, want)
			}
			if got.Ground == "" {
				t.Errorf("%s calls %q: no ground", name, method)
			}
			if ja := got.GroundJA; !got.Allowed && !got.Unknown && (!strings.Contains(ja, "必要な役割は") || strings.Contains(ja, "signer")) {
				t.Errorf("%s calls %q: in Japanese %q", name, method, ja)
			}
		}
	}
	for _, method := range p.Methods() {
		if len(matrix()[method]) == 0 {
			t.Errorf("%s can be called, but is not in the matrix", method)
		}
	}
}

// Each denial hangs on the rule it is meant to hang on: with that rule open
// the same call passes, so that a test of the denial would fail.
func TestEachDenialComesFromItsOwnRule(t *testing.T) {
	for method, roles := range methods() {
		for name, s := range subjects() {
			if New(installed()).Decide(method, s).Allowed {
				continue
			}
			open := New(installed())
			open.methods = maps.Clone(open.methods)
			open.methods[method] = roles | setOf(RoleAnyone)
			if got := open.Decide(method, s); !got.Allowed {
				t.Errorf("%s calls %s with the rule open: denied (%s), want allowed", name, method, got.Ground)
			}
			for other := range open.methods {
				if other != method && open.Decide(other, s) != New(installed()).Decide(other, s) {
					t.Errorf("opening %s changed the decision on %s", method, other)
				}
			}
		}
	}
}

func TestWithoutTheGroupNobodySigns(t *testing.T) {
	p := New(Config{})
	for name, s := range subjects() {
		s.Groups = append(s.Groups, 0) // a missing group is not group 0
		if got := p.Decide("/inkan.v1.SigningService/Sign", s); got.Allowed {
			t.Errorf("%s signs: %s", name, got.Ground)
		}
	}
}

func TestWithAVirtualCardWhoStartedTheServiceHasEveryRole(t *testing.T) {
	for _, uid := range []uint32{0, 1000} {
		p := New(Config{VirtualUID: new(uid)})
		for method := range methods() {
			if got := p.Decide(method, Subject{UID: uid}); !got.Allowed {
				t.Errorf("uid %d calls %s: denied (%s), want allowed", uid, method, got.Ground)
			}
		}
		if got := p.Decide("/inkan.v1.AdminService/Reload", Subject{UID: uid}); got.Allowed {
			t.Errorf("uid %d calls an unknown method: %s", uid, got.Ground)
		}
		if got := p.Decide("/inkan.v1.SigningService/Sign", Subject{UID: uid + 1}); got.Allowed {
			t.Errorf("another uid signs: %s", got.Ground)
		}
	}
}

func TestRolesAreWhatTheRuleSays(t *testing.T) {
	p := New(installed())
	tests := map[string]string{
		"signer by supplementary group": "anyone, signer",
		"signer by primary group":       "anyone, signer",
		"other user":                    "anyone",
		"user without groups":           "anyone",
		"root":                          "anyone, helpdesk, administrator, auditor",
		"root in the signers' group":    "anyone, signer, helpdesk, administrator, auditor",
	}
	for name, want := range tests {
		if got := p.Roles(subjects()[name]).String(); got != want {
			t.Errorf("roles of %s = %s, want %s", name, got, want)
		}
	}
	if got := RoleSet(0).String(); got != "none" {
		t.Errorf("empty set = %q, want none", got)
	}
}

func TestGroundsAreSentencesForTheLog(t *testing.T) {
	virtual := Config{VirtualUID: new(uint32(1000))}
	tests := []struct {
		name, method string
		config       Config
		subject      Subject
		want         string
	}{
		{
			"a signer", "/inkan.v1.SigningService/Sign", installed(),
			Subject{1000, []uint32{signerGID}},
			"uid 1000 is in group inkan (gid 998): signer",
		},
		{
			"root reads the log", "/inkan.v1.AuditService/List", installed(),
			Subject{0, nil},
			"uid 0 is root: auditor",
		},
		{
			"anyone", "/inkan.v1.StatusService/GetStatus", installed(),
			Subject{5, nil},
			"uid 5 is a local user: anyone",
		},
		{
			"virtual", "/inkan.v1.SigningService/Sign", virtual,
			Subject{1000, nil},
			"uid 1000 started the service with --virtual: signer",
		},
		{
			"root signs", "/inkan.v1.SigningService/Sign", installed(),
			Subject{0, nil},
			"uid 0 has the roles anyone, helpdesk, administrator, auditor, this needs one of: signer",
		},
		{
			"an unknown method", "/x\n/y", installed(),
			Subject{0, nil},
			`method "/x\n/y" is not in the policy`,
		},
	}
	for _, tt := range tests {
		if got := New(tt.config).Decide(tt.method, tt.subject).Ground; got != tt.want {
			t.Errorf("%s: ground = %q, want %q", tt.name, got, tt.want)
		}
	}
	long := New(installed()).Decide(strings.Repeat("/long", 2000), Subject{}).Ground
	if len(long) > 200 {
		t.Errorf("ground about a long method name has %d bytes, want at most 200", len(long))
	}
}
