package manifests

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// The alerts and the dashboard are PromQL for Prometheus' own parser. That they name metrics which exist is a test beside
// those metrics' code.
func TestAlertsAndDashboardArePromQL(t *testing.T) {
	text, err := Read("deploy/chart/files/alerts.yaml")
	must(t, err)
	queries := expressions(jsonOf(t, text))
	if len(queries) < 4 {
		t.Errorf("only %d alerts", len(queries))
	}
	text, err = Read("deploy/chart/files/dashboard.json")
	must(t, err)
	dashboard := map[string]any{}
	must(t, json.Unmarshal(text, &dashboard))
	// what Grafana puts in before Prometheus sees it
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$namespace", ".*")
	for _, query := range expressions(dashboard) {
		queries = append(queries, grafana.Replace(query))
	}
	for _, query := range queries {
		if _, err := parser.ParseExpr(query); err != nil {
			t.Errorf("%v, in: %s", err, query)
		}
	}
}

// expressions are all values under the key `expr`.
func expressions(value any) (found []string) {
	switch value := value.(type) {
	case map[string]any:
		for key, value := range value {
			if text, ok := value.(string); ok && key == "expr" {
				found = append(found, text)
			}
			found = append(found, expressions(value)...)
		}
	case []any:
		for _, value := range value {
			found = append(found, expressions(value)...)
		}
	}
	return found
}
