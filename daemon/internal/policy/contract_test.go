package policy_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/inkan-project/inkan/daemon/internal/policy"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEachMethodOfTheContractIsInThePolicyAndNoOther(t *testing.T) {
	left := map[string]bool{}
	for _, method := range policy.New(policy.Config{}).Methods() {
		if strings.HasPrefix(method, "/inkan.v1.") {
			left[method] = true
		}
	}
	check := func(service, method string) {
		full := "/" + service + "/" + method
		if !left[full] {
			t.Errorf("%s is in the contract, but not in the policy", full)
		}
		delete(left, full)
	}
	for _, desc := range []grpc.ServiceDesc{
		inkanpb.StatusService_ServiceDesc, inkanpb.SigningService_ServiceDesc,
		inkanpb.CardService_ServiceDesc, inkanpb.RegisterService_ServiceDesc, inkanpb.AuditService_ServiceDesc,
		inkanpb.AdminService_ServiceDesc,
	} {
		for _, m := range desc.Methods {
			check(desc.ServiceName, m.MethodName)
		}
		for _, s := range desc.Streams {
			check(desc.ServiceName, s.StreamName)
		}
	}
	for method := range left {
		t.Errorf("%s is in the policy, but not in the contract", method)
	}
}
