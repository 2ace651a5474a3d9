"""Write the files of the dashboards."""

from deploy.dashboards import ALL, FOLDER, text

for name, dashboard in ALL.items():
    (FOLDER / f"{name}.json").write_bytes(text(dashboard))
