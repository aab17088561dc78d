"""The main job, end to end: data, I, a pool of Os, a real server, a device, an attacker, a report.

Nothing is imported here, so that the device's process (`obfnet.demo.device`) stays free of torch.
"""
