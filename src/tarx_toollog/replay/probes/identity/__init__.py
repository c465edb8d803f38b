"""The probe of identity: does the model say who it is, whatever it is asked and whatever stands before?

``scorers.identity`` says what an answer claims, from words alone; no model judges another.
"""
