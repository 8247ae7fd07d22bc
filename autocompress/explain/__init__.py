"""Why a verified member looks the way it does, and where its time goes."""
