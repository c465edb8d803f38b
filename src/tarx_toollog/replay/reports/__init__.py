"""Reports: what a run says, whether that is enough, and whether another run is better. Text, JSON, HTML, JUnit …"""
