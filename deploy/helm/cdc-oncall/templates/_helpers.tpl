{{- define "cdc-oncall.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cdc-oncall.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "cdc-oncall.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "cdc-oncall.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cdc-oncall.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cdc-oncall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cdc-oncall.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "cdc-oncall.selectorLabels" . }}
{{- end }}

{{- define "cdc-oncall.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "cdc-oncall.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "cdc-oncall.claim" -}}
{{- default (include "cdc-oncall.fullname" .) .Values.persistence.existingClaim }}
{{- end }}

{{/* Everything that must be given and was not, at once. */}}
{{- define "cdc-oncall.check" -}}
{{- $wrong := list }}
{{- if not .Values.secret.name }}
{{- $wrong = append $wrong "secret.name is not given: create a Secret with the Slack tokens and the webhook token (values.yaml shows the command) and write its name: --set secret.name=cdc-oncall" }}
{{- end }}
{{- if not .Values.config }}
{{- $wrong = append $wrong "config is empty: write cdc.yml below `config:` (values.yaml shows one; `cdc init` writes one from your cluster)" }}
{{- end }}
{{- range $name := list "listen" "state" }}
{{- if hasKey $.Values.config $name }}
{{- $wrong = append $wrong (printf "config.%s is set by the chart, to where the Service and the volume are: remove it" $name) }}
{{- end }}
{{- end }}
{{- if and .Values.runbooks (hasKey .Values.config "runbooks") }}
{{- $wrong = append $wrong "config.runbooks is set by the chart where `runbooks` holds some: remove one of the two" }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n\nNothing was installed:\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}

{{/* cdc.yml: the user's, and what the chart decides. */}}
{{- define "cdc-oncall.config" -}}
{{- include "cdc-oncall.check" . }}
{{- $own := dict "listen" "0.0.0.0:8080" "state" "/var/lib/cdc-oncall/cdc-oncall.db" }}
{{- if .Values.runbooks }}
{{- $_ := set $own "runbooks" "/etc/cdc-oncall/runbooks" }}
{{- end }}
{{- toYaml (merge $own .Values.config) }}
{{- end }}

{{/* The ports of the addresses in `config`, and 443 for Slack, as a list in JSON. */}}
{{- define "cdc-oncall.ports" -}}
{{- $addresses := list (dig "slack" "api_url" "https://slack.com" .Values.config) }}
{{- range $part := list "registry" "connect" "flink" "alertmanager" "prometheus" }}
{{- $addresses = append $addresses (dig $part "url" "" $.Values.config) }}
{{- end }}
{{- $ports := list 443 }}
{{- range $address := compact $addresses }}
{{- $port := regexFind ":[0-9]+$" (urlParse $address).host | trimPrefix ":" }}
{{- $ports = append $ports (default (ternary 443 80 (hasPrefix "https:" $address)) (int $port)) }}
{{- end }}
{{- range $broker := splitList "," (dig "kafka" "bootstrap" "" .Values.config) }}
{{- with regexFind "[0-9]+$" (trim $broker) }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}

{{/* The groups of the PrometheusRule: those given, else the defaults; never defaults beside other thresholds. */}}
{{- define "cdc-oncall.rules" -}}
{{- $rules := .Values.prometheusRule.rules }}
{{- if not $rules }}
{{- $own := ternary (list "alerts") list (hasKey .Values.config "alerts") }}
{{- range $name, $pipeline := (default dict .Values.config.pipelines) }}
{{- if hasKey (default dict $pipeline) "objective" }}
{{- $own = append $own (printf "pipelines.%s.objective" $name) }}
{{- end }}
{{- end }}
{{- if $own }}
{{- fail (printf "prometheusRule.rules is empty, but config sets thresholds (%s). the default rules would not be yours. Nothing was installed. Render yours with `cdc -c cdc.yml rules > cdc-alerts.yml` and give them: --set-file prometheusRule.rules=cdc-alerts.yml" (join ", " $own)) }}
{{- end }}
{{- $rules = .Files.Get "files/alerts.yml" }}
{{- end }}
{{- $groups := dig "groups" list (fromYaml $rules) }}
{{- if not $groups }}
{{- fail "prometheusRule.rules holds no `groups`. Nothing was installed: give the file that `cdc rules` prints" }}
{{- end }}
{{- toYaml (dict "groups" $groups) }}
{{- end }}
