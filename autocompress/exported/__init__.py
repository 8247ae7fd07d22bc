"""What is deployed: files and folders of models, judged, proved, rebuilt and carried to other machines."""
