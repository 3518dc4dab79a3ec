# Each target says what it does; `localgalaxy/` holds the how.
LOCAL = python3 -m localgalaxy

.DEFAULT_GOAL := help
.PHONY: help setup galaxy

help:   ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make the virtual environments below .venvs/
	$(LOCAL) setup

galaxy: ## run a Galaxy with our tools until Ctrl-C
	$(LOCAL) galaxy
