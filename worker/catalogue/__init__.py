"""CMDB's modules, hosts and templates: read from CMDB's own JSON, validated, imported."""
